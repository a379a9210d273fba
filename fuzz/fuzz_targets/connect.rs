//! Authorities, as CONNECT, SNI and `Host` name them: one canonical host, or refused, and never a host that only
//! looks like one of Google's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnpike_policy::{canonical::Target, catalog::Catalog};

fuzz_target!(|authority: &str| {
    let Ok(target) = Target::new("CONNECT", authority, "/") else {
        return;
    };
    let host = target.host();
    let again = Target::new("CONNECT", host, "/").expect("a canonical host is one");
    assert_eq!(again.host(), host);
    let spelled = authority.strip_suffix(":443").unwrap_or(authority);
    assert_eq!(
        spelled.to_ascii_lowercase(),
        host,
        "only case and port may change"
    );
    assert!(
        http::uri::Authority::try_from(host).is_ok_and(|a| a.port().is_none() && a.host() == host),
        "{host} reads differently for hyper"
    );
    let catalog = Catalog::embedded().expect("the catalogue is well formed");
    if catalog.is_google_host(host) {
        assert!(
            host.ends_with(".googleapis.com"),
            "{host} is taken for one of Google's"
        );
    }
});
