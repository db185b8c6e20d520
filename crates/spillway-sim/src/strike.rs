//! Every kind of trouble that the simulator makes, with how often it is drawn. Few runs in trouble come
//! to storing, so what can only happen then is drawn often; half of all calls are spared in any case.

macro_rules! strikes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $rate:literal;)*) => {
        /// A kind of trouble.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Strike {
            $($(#[$doc])* $name,)*
        }

        impl Strike {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in reports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// How often it strikes at a call where it can, in ten thousand, when it is switched on.
            pub(crate) fn rate(self) -> u32 {
                match self {
                    $(Self::$name => $rate,)*
                }
            }
        }
    };
}

strikes! {
    /// A message takes time.
    NetDelay = "net_delay", 1_500;
    /// A peer cannot be reached.
    NetUnreachable = "net_unreachable", 400;
    /// The connection breaks before the request arrives.
    NetBreakBefore = "net_break_before", 300;
    /// The connection breaks before the answer arrives.
    NetBreakAfter = "net_break_after", 500;
    /// Nothing is heard until the deadline.
    NetSilence = "net_silence", 200;
    /// A request arrives twice.
    NetDuplicate = "net_duplicate", 500;
    /// Nobody answers a search for peers.
    NetNoPeers = "net_no_peers", 60;
    /// A price a thousand times too high.
    LieOverpriced = "lie_overpriced", 3_000;
    /// A price signed by somebody else, or for another network.
    LieForeignQuote = "lie_foreign_quote", 3_000;
    /// A receipt for a chunk that is not there, with a price.
    LieAlreadyStored = "lie_already_stored", 3_000;
    /// Fewer answers than were asked for.
    LieFewAnswers = "lie_few_answers", 1_000;
    /// Busy, whatever is asked.
    LieBusy = "lie_busy", 1_500;
    /// A refusal of what should be taken.
    LieRefusal = "lie_refusal", 1_500;
    /// A receipt with another nonce.
    LieReceiptNonce = "lie_receipt_nonce", 20_000;
    /// A receipt signed by another key.
    LieReceiptKey = "lie_receipt_key", 20_000;
    /// A receipt for another payment.
    LieReceiptPayment = "lie_receipt_payment", 20_000;
    /// A receipt that holds, for a chunk that was thrown away.
    LieHollow = "lie_hollow_receipt", 10_000;
    /// Other bytes than the chunk's.
    LieBytes = "lie_bytes", 10_000;
    /// "Not here" of a chunk that is.
    LieNotHere = "lie_not_here", 10_000;
    /// "I have it" of a chunk that is not here.
    LieHas = "lie_has", 10_000;
    /// "I do not have it" of a chunk that is here.
    LieHasNot = "lie_has_not", 10_000;
    /// A node dies at a put and comes back.
    NodeCrash = "node_crash", 250;
    /// A node's disk is full for one call.
    NodeDiskFull = "node_disk_full", 200;
    /// A node's disk fails once.
    NodeDiskError = "node_disk_error", 200;
    /// A node loses a chunk that it has just signed for, and starts anew; in uploads that wait until
    /// they are verified.
    NodeLoses = "node_loses", 3_000;
    /// Nodes have lost chunks of an upload that is done.
    CopiesLost = "copies_lost", 0;
    /// The client is killed; what it wrote is there.
    ClientKill = "client_kill", 0;
    /// The power goes; what was not synced is lost.
    ClientPowerCut = "client_power_cut", 0;
    /// The power goes; of what was not synced some is there, some is torn.
    ClientTornCut = "client_torn_cut", 0;
    /// The client is asked to stop.
    ClientStop = "client_stop", 0;
    /// The client's disk is full, once.
    DiskFull = "disk_full", 0;
    /// The client's disk is full from some call on.
    DiskFullOnwards = "disk_full_onwards", 0;
    /// A change of the client's disk fails.
    DiskError = "disk_error", 0;
    /// The client's disk dies.
    DiskDies = "disk_dies", 0;
    /// The client has no descriptors left, once.
    DiskNoHandles = "disk_no_handles", 0;
    /// The client cannot read, list, look or lock, once.
    DiskReadError = "disk_read_error", 30;
    /// The RPC does not take a call.
    ChainRefuse = "chain_refuse", 200;
    /// The RPC takes a call and its reply is lost.
    ChainLose = "chain_lose", 400;
    /// A transaction is acknowledged and forgotten.
    ChainForget = "chain_forget", 1_500;
    /// A replica that lags answers.
    ChainLag = "chain_lag", 600;
    /// A call takes time.
    ChainDelay = "chain_delay", 500;
    /// The newest blocks are replaced by empty ones.
    ChainReorg = "chain_reorg", 60;
    /// The base fee jumps, and stays there for a while.
    ChainFeeSpike = "chain_fee_spike", 80;
    /// The client's clock jumps.
    ClockJump = "clock_jump", 0;
    /// One byte of the source is changed.
    SourceEdit = "source_edit", 0;
    /// The source is cut short.
    SourceTruncate = "source_truncate", 0;
    /// The source has another name.
    SourceRename = "source_rename", 0;
    /// A bit of a sealed chunk in the spill flips.
    SpillRot = "spill_rot", 0;
    /// Another process works on the same data directory.
    SecondProcess = "second_process", 0;
    /// Another data directory pays with the same wallet.
    SecondDirectory = "second_directory", 0;
    /// Another machine, which shares no lock, pays with the same wallet.
    SecondMachine = "second_machine", 0;
    /// Somebody cleans and lists meanwhile.
    Housekeeping = "housekeeping", 0;
    /// Hours pass.
    TimePasses = "time_passes", 0;
    /// So much time passes that upload windows are over.
    WindowOver = "window_over", 0;
    /// What is drawn is settled.
    Settle = "settle", 0;
    /// What nobody claimed is asked back.
    Refund = "refund", 0;
    /// The sessions of a data directory are handed over to another.
    HandOver = "hand_over", 0;
    /// A process dies while it hands a session over or takes it.
    HandOverDies = "hand_over_dies", 0;
    /// An upload is verified, and what is short is stored again.
    Repair = "repair", 0;
}
