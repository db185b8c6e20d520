//! spillway-pay.
