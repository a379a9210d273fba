//! Protocol buffers, gRPC and multipart bodies.

use super::{Subject, Why, call, found, object, places, scan, token, unscannable, zip};

/// A field of bytes.
fn field(number: u32, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut message = varint(u64::from(number) << 3 | 2);
    message.extend(varint(bytes.len() as u64));
    message.extend_from_slice(bytes);
    message
}

fn number(number: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(number) << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    messages
        .iter()
        .flat_map(|message| [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat())
        .collect()
}

fn grpc(method: &str, name: Option<&str>) -> Subject {
    Subject {
        method: method.to_owned(),
        name: name.map(str::to_owned),
        ..call("application/grpc+proto")
    }
}

#[test]
fn fields_of_messages_are_found_by_their_numbers() {
    let secret = token(21);
    let payload = field(1, [b"\xff\0binary ".as_slice(), secret.as_bytes()].concat());
    let message = [
        field(1, "projects/a/secrets/b"),
        number(4, 1 << 40),
        field(2, payload),
    ]
    .concat();
    found(&scan(&call("application/x-protobuf"), &message), &["field 2.1"]);
    let stream = framed(&[message.clone(), vec![], field(15, &secret), field(16, &secret)]);
    found(
        &scan(&grpc("pubsub.projects.topics.publish", None), &stream),
        &["field 2.1", "field 15", "field 16"],
    );
    // A length that is a letter stands right before the value.
    let long = format!(
        "sk-ant-api03-{}AA",
        (0..93).map(|i| token(i)[8..9].to_owned()).collect::<String>()
    );
    assert_eq!(varint(long.len() as u64), b"l");
    let findings = scan(&call("application/protobuf"), field(3, field(1, &long)));
    assert_eq!(places(&findings), [("anthropic-key", "field 3.1")]);
    let inside = field(2, field(1, zip(&[("a.txt", secret.as_bytes())])));
    found(
        &scan(&call("application/x-protobuf"), inside),
        &["field 2.1!a.txt line 1"],
    );
}

#[test]
fn messages_that_are_none_are_unscannable() {
    let secret = token(22);
    let findings = scan(
        &call("application/x-protobuf"),
        [&b"\x0f"[..], secret.as_bytes()].concat(),
    );
    assert_eq!(findings.hits.len(), 1);
    unscannable(&findings, Why::Broken("message of protocol buffers"), "");
    let mut stream = framed(&[field(1, &secret)]);
    stream.truncate(20);
    unscannable(&scan(&grpc("a.b", None), &stream), Why::Broken("gRPC stream"), "");
    let mut stream = framed(&[field(1, &secret)]);
    stream[0] = 1;
    unscannable(
        &scan(&grpc("a.b", None), &stream),
        Why::Coding("of a gRPC message".to_owned()),
        "",
    );
}

#[test]
fn the_content_of_an_object_is_put_together_from_its_messages() {
    let secret = token(23);
    let spec = field(
        2,
        field(
            1,
            [field(1, "a/b.txt"), field(5, format!("by {secret}"))].concat(),
        ),
    );
    let content = format!("one\ntwo {secret}\n");
    let piece = |text: &str, offset: u64| {
        [
            number(3, offset),
            field(4, [field(1, text), number(2, 9)].concat()),
        ]
        .concat()
    };
    let insert = grpc("storage.objects.insert", Some("a/b.txt"));
    for cut in 1..content.len() {
        let (first, second) = content.split_at(cut);
        let stream = framed(&[
            [spec.clone(), piece(first, 0)].concat(),
            piece("", cut as u64),
            [piece(second, cut as u64), number(9, 1)].concat(),
        ]);
        let findings = scan(&insert, &stream);
        assert_eq!(findings.unscannable, None);
        let at: Vec<&str> = places(&findings).into_iter().map(|(_, place)| place).collect();
        assert_eq!(at[0], "a/b.txt line 2", "cut at {cut}");
        assert!(at.len() == 2 && at[1].starts_with("field 1"), "{at:?}");
    }
    let archive = zip(&[("x/y.py", format!("\nT = '{secret}'").as_bytes())]);
    let (first, second) = archive.split_at(30);
    let bytes = |data: &[u8]| field(4, field(1, data));
    let stream = framed(&[[field(2, field(1, "n")), bytes(first)].concat(), bytes(second)]);
    found(&scan(&insert, &stream), &["a/b.txt!x/y.py line 2"]);
    let later = framed(&[[field(1, "an upload"), piece(&content, 100)].concat()]);
    unscannable(&scan(&insert, &later), Why::Lost, "");
}

fn related(metadata: &str, media: &[u8], headers: &str) -> Vec<u8> {
    [
        b"--xyz\r\nContent-Type: application/json\r\n\r\n".as_slice(),
        metadata.as_bytes(),
        b"\r\n--xyz\r\nContent-Type: application/octet-stream\r\n",
        headers.as_bytes(),
        b"\r\n",
        media,
        b"\r\n--xyz--\r\n",
    ]
    .concat()
}

#[test]
fn both_parts_of_an_upload_are_searched() {
    let secret = token(24);
    let upload = Subject {
        name: Some("a.bin".to_owned()),
        ..call("multipart/related; boundary=xyz")
    };
    let metadata = format!("{{\"name\":\"a.bin\",\"metadata\":{{\"note\":\"{secret}\"}}}}");
    let text = format!("1\n2\n{secret}");
    found(
        &scan(&upload, related(&metadata, text.as_bytes(), "")),
        &["metadata.note", "a.bin line 3"],
    );
    let archive = zip(&[("m.txt", text.as_bytes())]);
    found(
        &scan(&upload, related("{}", &archive, "")),
        &["a.bin!m.txt line 3"],
    );
    // The gate takes no part that is coded itself.
    let headers = "Content-Transfer-Encoding: base64\r\n";
    let findings = scan(&upload, related("{}", text.as_bytes(), headers));
    unscannable(&findings, Why::Broken("multipart body"), "");
    let mut cut = related("{}", text.as_bytes(), "");
    cut.truncate(cut.len() - 10);
    let findings = scan(&upload, cut);
    assert_eq!(findings.hits.len(), 1);
    unscannable(&findings, Why::Broken("multipart body"), "a.bin");
}

#[test]
fn calls_of_a_batch_are_searched() {
    let secret = token(25);
    let part = |body: &str| {
        format!(
            "--b\r\nContent-Type: application/http\r\n\r\nPOST /v1/x HTTP/1.1\r\nX-Key: {secret}\r\n\r\n{body}\r\n"
        )
    };
    let body = format!(
        "{}{}--b--\r\n",
        part("{\"a\":1}"),
        part(&format!("{{\"a\":\"{secret}\"}}"))
    );
    found(
        &scan(&call("multipart/mixed; boundary=b"), body),
        &["part 1 line 2", "part 2 line 2", "part 2 a"],
    );
    let form = format!("--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n{secret}\r\n--b--\r\n");
    let findings = scan(&call("multipart/form-data; boundary=b"), form);
    assert_eq!(places(&findings), [("github-token", "line 4")]);
    let name = "a multipart type other than related and mixed";
    unscannable(&findings, Why::Format(name), "");
    // Somebody's data of that type is that: data.
    let mut data = object("mail");
    data.content_type = Some("multipart/form-data; boundary=b".to_owned());
    found(&scan(&data, &secret), &["mail line 1"]);
}
