//! What a configuration file may say, and the words for what it may not.

use std::{fs, time::Duration};

use super::{AmbientSource, Config, HeldConfig, KeySource, RouteTransport, SinkConfig, init};

fn read(yaml: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("turnpike.yaml");
    fs::write(&path, yaml).unwrap();
    fs::write(dir.path().join("empty.pem"), "").unwrap();
    Config::read(&path).map_err(|error| {
        let base = format!("{}/", dir.path().display());
        error.to_string().replace(&base, "")
    })
}

#[test]
fn an_empty_file_has_a_default_for_everything() {
    let config = read("{}").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8443");
    assert_eq!(config.admin.to_string(), "127.0.0.1:9443");
    assert_eq!(config.domains, ["googleapis.com"]);
    assert_eq!(config.audience, "turnpike");
    assert_eq!(config.issuers, []);
    assert_eq!(config.ambient, AmbientSource::ApplicationDefault);
    assert_eq!(config.upstreams.len(), 0);
    assert_eq!(config.audit.sink, SinkConfig::Local);
    assert_eq!(config.audit.spool_bytes, 1 << 30);
    assert_eq!((config.answer_bytes, config.read_bytes), (16 << 20, 32 << 20));
    assert_eq!(
        (config.masked_total_bytes, config.read_total_bytes),
        (128 << 20, 128 << 20)
    );
    let held = HeldConfig {
        dir: config.audit.dir.join("held"),
        body_bytes: 64 << 20,
        total_bytes: 1 << 30,
    };
    assert_eq!(config.held, held);
    assert_eq!(config.open_requests_per_agent, 32);
    assert_eq!(config.answer_within, Duration::from_secs(600));
    assert_eq!(config.idle, Duration::from_secs(60));
    assert_eq!(config.namespaces.len(), 0);
}

#[test]
fn namespaces_have_labels() {
    let config = read("namespaces: {agents: {env: prod, team: a}, lab: {}}").unwrap();
    let labels = |name: &str| -> Vec<_> { config.namespaces[name].iter().collect() };
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let expected = [("env", "prod"), ("team", "a")].map(pair);
    assert_eq!(
        labels("agents"),
        Vec::from_iter(expected.iter().map(|(k, v)| (k, v)))
    );
    assert_eq!(labels("lab").len(), 0);
}

#[test]
fn the_example_is_read_and_says_what_is_the_default() {
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path()).unwrap();
    let example = Config::read(&dir.path().join("turnpike.yaml")).unwrap();
    let default = read("{}").unwrap();
    assert_eq!((example.listen, example.admin), (default.listen, default.admin));
    assert_eq!(example.audience, default.audience);
    assert_eq!(example.ambient, default.ambient);
    assert_eq!(example.audit.sink, default.audit.sink);
    assert_eq!(example.audit.spool_bytes, default.audit.spool_bytes);
    // Paths are relative to the folder.
    assert_eq!(example.ca_dir, dir.path().join("ca"));
    let [issuer] = example.issuers.as_slice() else {
        panic!("{:?}", example.issuers)
    };
    assert_eq!(
        issuer.keys,
        KeySource::File(dir.path().join("identity/jwks.json"))
    );
    // Nothing that is there is written over.
    let again = init::init(dir.path()).unwrap_err().to_string();
    let file = dir.path().join("turnpike.yaml");
    assert_eq!(
        again,
        format!("{} is there already; nothing was written", file.display())
    );
}

#[test]
fn upstreams_say_how_they_are_reached() {
    let config = read(
        r#"
        upstreams:
          - {host: storage.googleapis.com, address: "10.0.0.5:443"}
          - {host: "*.googleapis.com"}
          - {host: "*", address: "[::1]:9000", plaintext: true}
        "#,
    );
    let routes: Vec<_> = config
        .unwrap()
        .upstreams
        .iter()
        .map(|r| (r.host.clone(), r.address.clone(), format!("{:?}", r.transport)))
        .collect();
    let route = |host: &str, address: Option<&str>, transport: RouteTransport| {
        (
            host.to_owned(),
            address.map(str::to_owned),
            format!("{transport:?}"),
        )
    };
    assert_eq!(
        routes,
        [
            route(
                "storage.googleapis.com",
                Some("10.0.0.5:443"),
                RouteTransport::Tls
            ),
            route("*.googleapis.com", None, RouteTransport::Tls),
            route("*", Some("[::1]:9000"), RouteTransport::Plaintext),
        ]
    );
}

#[test]
fn what_makes_no_sense_is_named() {
    let cases = [
        ("listne: 127.0.0.1:1", "turnpike.yaml: unknown field `listne`"),
        ("listen: here", "turnpike.yaml: "),
        ("audit: [", "turnpike.yaml: "),
        (
            "credential: {source: AccessTokenFile}",
            "turnpike.yaml: credential: accessTokenFile goes with source AccessTokenFile, and that source needs it",
        ),
        (
            "credential: {accessTokenFile: token}",
            "turnpike.yaml: credential: accessTokenFile goes with source AccessTokenFile, and that source needs it",
        ),
        (
            "audit: {sink: PubSub}",
            "turnpike.yaml: audit.topic: sink PubSub needs a topic as projects/PROJECT/topics/TOPIC",
        ),
        (
            "audit: {sink: PubSub, topic: projects/p/topics/}",
            "turnpike.yaml: audit.topic: sink PubSub needs a topic as projects/PROJECT/topics/TOPIC",
        ),
        (
            "audit: {topic: projects/p/topics/t}",
            "turnpike.yaml: audit.topic: sink Local has no topic",
        ),
        (
            "tls: {domains: []}",
            "turnpike.yaml: tls.domains: name at least one domain",
        ),
        (
            "identity: {issuers: [{issuer: x}]}",
            "turnpike.yaml: identity.issuers[0]: set exactly one of jwksFile and jwksUrl",
        ),
        (
            "identity: {issuers: [{issuer: x, jwksFile: a, jwksUrl: https://b}]}",
            "turnpike.yaml: identity.issuers[0]: set exactly one of jwksFile and jwksUrl",
        ),
        (
            "identity: {issuers: [{issuer: x, jwksUrl: http://issuer.example/keys}]}",
            "turnpike.yaml: identity.issuers[0].jwksUrl: keys must come over https",
        ),
        (
            "identity: {issuers: [{issuer: x, jwksUrl: http://127.0.0.1.evil.example/keys}]}",
            "turnpike.yaml: identity.issuers[0].jwksUrl: keys must come over https",
        ),
        (
            "upstreams: [{host: \"st*.googleapis.com\"}]",
            "turnpike.yaml: upstreams[0].host: is a host, *.SUFFIX, or * for all",
        ),
        (
            "upstreams: [{host: \"*googleapis.com\"}]",
            "turnpike.yaml: upstreams[0].host: is a host, *.SUFFIX, or * for all",
        ),
        (
            "upstreams: [{host: x, address: nowhere}]",
            "turnpike.yaml: upstreams[0].address: is HOST:PORT",
        ),
        (
            "upstreams: [{host: x, address: \"10.0.0.1:80\", plaintext: true}]",
            "turnpike.yaml: upstreams[0].plaintext: credentials go over plain HTTP to a loopback address alone, such as \
             127.0.0.1:9000",
        ),
        (
            "upstreams: [{host: x, plaintext: true}]",
            "turnpike.yaml: upstreams[0].plaintext: credentials go over plain HTTP to a loopback address alone, such as \
             127.0.0.1:9000",
        ),
        (
            "upstreams: [{host: x, address: \"127.0.0.1:80\", plaintext: true, caFile: a}]",
            "turnpike.yaml: upstreams[0].caFile: plain HTTP has no certificates",
        ),
        (
            "limits: {heldBodyMib: 2000}",
            "turnpike.yaml: limits.heldTotalMib: is at least limits.heldBodyMib, which is 2000",
        ),
        (
            "limits: {readBodyMib: 200}",
            "turnpike.yaml: limits.readTotalMib: is at least limits.readBodyMib, which is 200",
        ),
        (
            "limits: {maskedTotalMib: 15}",
            "turnpike.yaml: limits.maskedTotalMib: is at least limits.maskedAnswerMib, which is 16",
        ),
        (
            "upstreams: [{host: x, caFile: empty.pem}]",
            "turnpike.yaml: upstreams[0].caFile: empty.pem holds no certificate",
        ),
        (
            "upstreams: [{host: x, caFile: missing.pem}]",
            "turnpike.yaml: upstreams[0].caFile: ",
        ),
    ];
    for (yaml, expected) in cases {
        match read(yaml) {
            Ok(config) => panic!("{yaml} is taken: {config:?}"),
            Err(found) => assert!(found.starts_with(expected), "{yaml}\n{found}\n{expected}"),
        }
    }
    // What the parser does not take has a position.
    for yaml in ["\nlistne: 127.0.0.1:1", "\nlisten: here", "\naudit: ["] {
        let found = read(yaml).unwrap_err();
        assert!(found.contains("line 2"), "{found}");
    }
}
