//! JSON, forms, XML, text and bytes.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;

use super::{Why, call, found, gzip, object, places, scan, token, unscannable, zip};

#[test]
fn values_of_json_are_found_by_their_path() {
    let secret = token(11);
    let body = json!({
        "name": "x",
        "spec": {"template": {"spec": {"containers": [{"env": [{"name": "A", "value": "b"}, {"name": "T", "value": secret}]}]}}},
        "labels": {"a.b/c": secret, "": secret},
        "substitutions": {"_TOKEN": secret},
    });
    found(
        &scan(&call("application/json; charset=utf-8"), body.to_string()),
        &[
            "spec.template.spec.containers[0].env[1].value",
            "labels[\"a.b/c\"]",
            "labels[\"\"]",
            "substitutions._TOKEN",
        ],
    );
    // As some write it, with a name twice, and with escapes.
    let escaped: String = secret
        .chars()
        .map(|c| format!("\\u{:04x}", u32::from(c)))
        .collect();
    found(
        &scan(
            &call("application/json"),
            format!("{{\"a\":\"{escaped}\",\"a\":\"\"}}"),
        ),
        &["a"],
    );
    found(
        &scan(&call("application/json"), format!("{{\"x\":\"\\n{secret}\\n\"}}")),
        &["x"],
    );
    found(&scan(&call("application/json"), format!("\"{secret}\"")), &[""]);
}

#[test]
fn names_beside_values_count_in_either_order() {
    let value = &token(12)[4..28];
    for body in [
        json!({"env": [{"name": "DB_PASSWORD", "value": value}]}),
        json!({"env": [{"value": value, "name": "DB_PASSWORD"}]}),
        json!({"env": [{"key": "apiToken", "value": value}]}),
    ] {
        let findings = scan(&call("application/json"), body.to_string());
        assert_eq!(places(&findings), [("password", "env[0].value")], "{body}");
    }
    let findings = scan(
        &call("application/json"),
        json!({"user": {"password": value}}).to_string(),
    );
    assert_eq!(places(&findings), [("password", "user.password")]);
    assert!(
        scan(
            &call("application/json"),
            json!({"value": value, "name": "colour"}).to_string()
        )
        .is_clean()
    );
}

#[test]
fn base64_in_values_is_decoded_twice() {
    let secret = token(13);
    let once = STANDARD.encode(format!("token\n{secret}\n"));
    let twice = STANDARD.encode(&once);
    let thrice = STANDARD.encode(&twice);
    let body = json!({"payload": {"data": once}, "messages": [{"data": twice}, {"data": thrice}]});
    found(
        &scan(&call("application/json"), body.to_string()),
        &["payload.data line 2", "messages[0].data line 2"],
    );
    let inner = json!({"a": {"b": secret}}).to_string();
    let body = json!({"data": URL_SAFE_NO_PAD.encode(inner), "zip": STANDARD.encode(zip(&[("a/b.txt", secret.as_bytes())])),
        "gz": STANDARD.encode(gzip(&secret))});
    found(
        &scan(&call("application/json"), body.to_string()),
        &["data.a.b", "zip!a/b.txt line 1", "gz line 1"],
    );
    // Lines, as PEM and MIME have them.
    let lines = once
        .as_bytes()
        .chunks(20)
        .map(|l| String::from_utf8_lossy(l).into_owned())
        .collect::<Vec<_>>()
        .join("\n");
    found(
        &scan(&call("application/json"), json!({"d": lines}).to_string()),
        &["d line 2"],
    );
}

#[test]
fn service_account_keys_are_found_as_such() {
    let key = |n: usize| STANDARD.encode((0..n).map(|i| (i * 7919 % 251) as u8).collect::<Vec<u8>>());
    let pem = format!(
        "-----BEGIN PRIVATE {}-----\n{}\n-----END PRIVATE KEY-----\n",
        "KEY",
        key(1200)
    );
    let file = json!({"type": "service_account", "private_key_id": "ab12", "private_key": pem, "client_email": "a@b"});
    for content in [file.to_string(), format!("{file:#}")] {
        let findings = scan(&object("key.json"), &content);
        assert_eq!(
            places(&findings),
            [("google-service-account-key", "key.json private_key")]
        );
        let body = json!({"payload": {"data": STANDARD.encode(&content)}}).to_string();
        let findings = scan(&call("application/json"), body);
        assert_eq!(
            places(&findings),
            [
                ("google-service-account-key", "payload.data"),
                ("google-service-account-key", "payload.data.private_key")
            ],
            "{content}"
        );
    }
}

#[test]
fn a_message_that_is_no_json_is_unscannable_and_an_object_is_text() {
    let secret = token(14);
    let broken = format!("{{\"a\": \"{secret}\",}}");
    let findings = scan(&call("application/json"), &broken);
    assert_eq!(places(&findings), [("github-token", "line 1")]);
    unscannable(&findings, Why::Broken("JSON"), "");
    found(&scan(&object("a.json"), &broken), &["a.json line 1"]);
    found(
        &scan(&object("a.jsonl"), format!("{{}}\n{{\"a\":\"{secret}\"}}\n")),
        &["a.jsonl line 2"],
    );
    let deep = format!("{}{}{}", "[".repeat(200), "1", "]".repeat(200));
    unscannable(&scan(&call("application/json"), deep), Why::Broken("JSON"), "");
    assert!(scan(&call("application/json"), "").is_clean());
    assert!(scan(&call("application/json"), " \n").is_clean());
}

#[test]
fn forms_and_xml_are_decoded() {
    let secret = token(15);
    let spelled: String = secret.bytes().map(|b| format!("%{b:02X}")).collect();
    let form = call("application/x-www-form-urlencoded");
    found(
        &scan(&form, format!("a=1&assertion={spelled}&b=x+{secret}&{secret}")),
        &["assertion", "b", "[SECRET]"],
    );
    let references: String = secret.chars().map(|c| format!("&#{};", u32::from(c))).collect();
    let xml = call("application/xml");
    found(
        &scan(
            &xml,
            format!("<a>\n<b>{references}</b>\n<c>&amp;{secret}&lt;&bogus;</c></a>"),
        ),
        &["line 2", "line 3"],
    );
}

#[test]
fn text_in_utf_16_is_read() {
    let text = format!("\u{feff}one\r\n{} \u{1f511}\r\n", token(16));
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for content in [&big, &little] {
        found(&scan(&object("a.ps1"), content), &["a.ps1 line 2"]);
    }
    // Whatever the pieces: characters of two units, and half a unit at the end.
    let long = format!("\u{feff}{}{}", "\u{1f511}".repeat(70_001), token(16));
    let mut long: Vec<u8> = long.encode_utf16().flat_map(u16::to_le_bytes).collect();
    long.push(0x0a);
    found(&scan(&object("a.txt"), long), &["a.txt line 1"]);
}

#[test]
fn binary_contents_are_searched_as_bytes() {
    let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    image.resize(5000, 7);
    image.extend_from_slice(token(17).as_bytes());
    image.push(0);
    found(&scan(&object("a.png"), &image), &["a.png byte 5000"]);
    assert!(scan(&object("a.parquet"), [b"PAR1".to_vec(), vec![3; 9000]].concat()).is_clean());
}

#[test]
fn formats_that_are_not_opened_are_unscannable() {
    for (head, name) in [
        (&b"\xfd7zXZ\0\0"[..], "xz"),
        (b"BZh91AY&SYabc", "bzip2"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "7z"),
        (b"Rar!\x1a\x07\x01\0", "rar"),
    ] {
        let content = [head, token(18).as_bytes()].concat();
        let findings = scan(&object("a"), content);
        unscannable(&findings, Why::Format(name), "a");
        assert_eq!(findings.hits.len(), usize::from(name != "bzip2"), "{name}");
    }
    assert!(scan(&object("a"), "BZh is how a text may begin").is_clean());
}

#[test]
fn content_codings_are_undone() {
    use std::io::Read as _;

    let body = format!("{{\"a\":\"{}\"}}", token(19));
    let deflate = {
        let mut coded = Vec::new();
        let mut encoder = flate2::read::ZlibEncoder::new(body.as_bytes(), flate2::Compression::default());
        encoder.read_to_end(&mut coded).expect("memory takes it");
        coded
    };
    let by = |encoder: &mut dyn FnMut(&[u8]) -> Vec<u8>| encoder(body.as_bytes());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut brotli = |text: &[u8]| {
        use tokio::io::AsyncReadExt as _;
        let mut coded = Vec::new();
        let mut encoder = async_compression::tokio::bufread::BrotliEncoder::new(text);
        runtime
            .block_on(encoder.read_to_end(&mut coded))
            .expect("memory takes it");
        coded
    };
    let brotli = by(&mut brotli);
    let mut zstd = |text: &[u8]| {
        use tokio::io::AsyncReadExt as _;
        let mut coded = Vec::new();
        let mut encoder = async_compression::tokio::bufread::ZstdEncoder::new(text);
        runtime
            .block_on(encoder.read_to_end(&mut coded))
            .expect("memory takes it");
        coded
    };
    let zstd = by(&mut zstd);
    for (name, coded) in [
        ("gzip", gzip(&body)),
        ("X-Gzip", gzip(&body)),
        ("deflate", deflate),
        ("br", brotli.clone()),
        ("zstd", zstd.clone()),
        ("br, gzip", gzip(&brotli)),
        ("identity", body.clone().into_bytes()),
    ] {
        let mut subject = call("application/json");
        subject.content_encoding = Some(name.to_owned());
        found(&scan(&subject, &coded), &["a"]);
        if name != "identity" {
            let longer = scan(&subject, [coded.as_slice(), b"more"].concat());
            assert!(longer.unscannable.is_some(), "{name}");
            let cut = scan(&subject, &coded[..coded.len() - 3]);
            assert!(
                matches!(cut.unscannable.as_ref().map(|u| &u.why), Some(Why::Broken(_))),
                "{name}: {cut:?}"
            );
        }
    }
    found(&scan(&object("a.zst"), &zstd), &["a.zst a"]);
    let mut subject = call("application/json");
    subject.content_encoding = Some("compress".to_owned());
    let findings = scan(&subject, &body);
    assert_eq!(findings.hits.len(), 1);
    unscannable(&findings, Why::Coding("compress".to_owned()), "");
}
