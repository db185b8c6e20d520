use super::*;

#[test]
fn a_download_that_is_kept_says_where_and_how_to_go_on() {
    let kept = |source| {
        Failure::from(DownloadError::Unfinished {
            path: "/out/.file.0123456789abcdef.spillway-part".into(),
            chunks: 2,
            bytes: 8_000_000,
            bytes_total: 10_000_000,
            source: Box::new(source),
        })
    };
    let go_on = "8.00 MB of 10.00 MB are kept in /out/.file.0123456789abcdef.spillway-part; \
                 run the same command again to go on";
    let failure = kept(DownloadError::Interrupted);
    assert_eq!((failure.code, failure.message.as_str()), (Code::Interrupted, "interrupted"));
    assert_eq!(failure.hint.as_deref(), Some(go_on));
    assert_eq!(failure.details["bytes_kept"], 8_000_000);
    let failure = kept(DownloadError::NotFound { address: ADDRESS, asked: 10 });
    assert_eq!(failure.code, Code::NotFound);
    let first = "check that this is the network it was uploaded to";
    assert_eq!(failure.hint, Some(format!("{first}; {go_on}")));
    assert_eq!(failure.details["address"], ADDRESS.to_string());
}

/// What went down a pipe cannot be taken back.
#[test]
fn a_download_to_standard_output_says_that_what_was_written_is_not_whole() {
    let again = "what was written is not whole; run the same command again";
    let stopped = Failure::of_stream(&DownloadError::Interrupted);
    assert_eq!((stopped.code, stopped.hint.as_deref()), (Code::Interrupted, Some(again)));
    let later = DownloadError::Unavailable { address: ADDRESS, bad: 0, failed: 1, last: None };
    let later = Failure::of_stream(&later);
    assert_eq!(later.hint, Some(format!("try again later; {again}")));
    let none = Failure::of_stream(&DownloadError::DirectoryToStream);
    assert_eq!(none, Failure::from(DownloadError::DirectoryToStream));
}
