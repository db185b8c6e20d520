//! How is paid, and why.

use spillway_client::{ModeReason, PaymentMode};

/// `direct`, `batch` or `mixed`.
pub(crate) fn mode_name(mode: PaymentMode) -> &'static str {
    match mode {
        PaymentMode::Direct => "direct",
        PaymentMode::Batch => "batch",
        PaymentMode::Mixed => "mixed",
        _ => "other",
    }
}

/// `Payment as batch: 0.1 coins less than direct`, as far as it is known.
pub(crate) fn paid_as(mode: Option<PaymentMode>, reason: Option<&ModeReason>) -> Option<String> {
    match (mode, reason) {
        // What earlier runs have paid counts too.
        (Some(mode), Some(reason)) if mode != reason.mode() => {
            Some(format!("Payment as {}, now as {reason}", mode_name(mode)))
        }
        (_, Some(reason)) => Some(format!("Payment as {reason}")),
        (Some(mode), None) => Some(format!("Payment as {}", mode_name(mode))),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_said_as_far_as_it_is_known() {
        let asked = ModeReason::Asked { mode: PaymentMode::Batch };
        let said = |mode, reason| paid_as(mode, reason);
        assert_eq!(said(None, None), None);
        assert_eq!(said(Some(PaymentMode::Direct), None).unwrap(), "Payment as direct");
        let batch = "Payment as batch: as asked for";
        assert_eq!(said(Some(PaymentMode::Batch), Some(&asked)).unwrap(), batch);
        assert_eq!(said(None, Some(&asked)).unwrap(), batch);
        let mixed = "Payment as mixed, now as batch: as asked for";
        assert_eq!(said(Some(PaymentMode::Mixed), Some(&asked)).unwrap(), mixed);
    }
}
