//! The harmful method in another form than REST: gRPC, `/$rpc/`, gRPC-Web, and the XML API of Cloud Storage.

use super::{
    super::{Attempt, How},
    Case, Speaker,
    messages::framed,
    request,
};

pub(super) fn ways(case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    let mut found = xml(case, speaker);
    let Some(rpc) = &case.rpc else {
        return found;
    };
    let (host, path) = (case.host.as_str(), rpc.path.as_str());
    let message = &rpc.message;
    let harmless = b"\x0a\x13projects/acme-dev/x/y".as_slice();
    let body = framed(0, message);
    let mut stream = |way, path: &str, more: &[(&str, &str)], body: Vec<u8>| {
        let mut fields = speaker.fields("POST", path, host);
        fields.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        found.push(Attempt {
            way,
            how: How::Stream {
                host: host.to_owned(),
                fields,
                body: Some(body),
                trailers: Vec::new(),
            },
        });
    };
    let grpc = ("content-type", "application/grpc");
    let te = ("te", "trailers");
    stream("gRPC", path, &[grpc, te], body.clone());
    let routed = ("x-goog-request-params", "name=projects%2Facme-dev%2Fother");
    stream(
        "gRPC with a routing header",
        path,
        &[grpc, te, routed],
        body.clone(),
    );
    for (way, kind) in [
        ("gRPC in protocol buffers", "application/grpc+proto"),
        ("gRPC in JSON", "application/grpc+json"),
        ("gRPC in upper case", "APPLICATION/GRPC"),
        ("gRPC with a parameter", "application/grpc; charset=utf-8"),
        ("gRPC-Web", "application/grpc-web"),
        ("gRPC-Web in protocol buffers", "application/grpc-web+proto"),
        ("gRPC-Web in text", "application/grpc-web-text"),
        ("gRPC as JSON", "application/json"),
        ("gRPC as protocol buffers", "application/x-protobuf"),
        ("gRPC as a batch", "multipart/mixed; boundary=b"),
    ] {
        stream(way, path, &[("content-type", kind), te], body.clone());
    }
    stream("gRPC without a type", path, &[te], body.clone());
    stream(
        "gRPC with two types",
        path,
        &[("content-type", "application/json"), grpc, te],
        body.clone(),
    );
    let two = [framed(0, harmless), body.clone()].concat();
    stream("gRPC with a harmless message first", path, &[grpc, te], two);
    let two = [body.clone(), framed(0, harmless)].concat();
    stream("gRPC with a harmless message behind it", path, &[grpc, te], two);
    let twice = framed(0, &[message, harmless].concat());
    stream("gRPC with a field twice", path, &[grpc, te], twice);
    stream(
        "gRPC said to be compressed",
        path,
        &[grpc, te, ("grpc-encoding", "gzip")],
        framed(1, message),
    );
    stream(
        "gRPC with an unknown flag",
        path,
        &[grpc, te],
        framed(0x80, message),
    );
    stream("gRPC without a message", path, &[grpc, te], Vec::new());
    for (way, path) in [
        ("gRPC with a slash at its end", format!("{path}/")),
        ("gRPC with two slashes", format!("/{path}")),
        (
            "gRPC with an encoded slash",
            path.replacen('/', "%2F", 2).replacen("%2F", "/", 1),
        ),
        ("gRPC with a letter encoded", path.replacen('g', "%67", 1)),
        ("gRPC with a query", format!("{path}?$httpMethod=GET")),
        ("gRPC in lower case", path.to_ascii_lowercase()),
        ("gRPC below $rpc", format!("/$rpc{path}")),
        ("gRPC below an encoded $rpc", format!("/%24rpc{path}")),
        ("gRPC below upload", format!("/upload{path}")),
    ] {
        stream(way, &path, &[grpc, te], body.clone());
    }
    let text = String::from_utf8_lossy(message).into_owned();
    for (way, target, kind) in [
        ("$rpc", format!("/$rpc{path}"), "application/x-protobuf"),
        ("$rpc in JSON", format!("/$rpc{path}"), "application/json"),
        (
            "an encoded $rpc",
            format!("/%24rpc{path}"),
            "application/x-protobuf",
        ),
        ("$RPC", format!("/$RPC{path}"), "application/x-protobuf"),
        (
            "$rpc twice",
            format!("/$rpc/$rpc{path}"),
            "application/x-protobuf",
        ),
        ("gRPC by HTTP/1", path.to_owned(), "application/grpc"),
        ("gRPC-Web by HTTP/1", path.to_owned(), "application/grpc-web-text"),
        (
            "gRPC with an override",
            format!("{path}?$httpMethod=POST"),
            "application/grpc",
        ),
    ] {
        let kind = format!("Content-Type: {kind}\r\n");
        found.push(request(
            way,
            case,
            speaker.request("POST", &target, host, &kind, &text),
        ));
    }
    found
}

/// What stands at the bucket `item-1` and its object of the same name.
fn xml(case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    let verb = match case.id {
        "storage.objects.delete" | "storage.buckets.delete" => "DELETE",
        _ => return Vec::new(),
    };
    let object = if case.id == "storage.objects.delete" {
        "/item-1"
    } else {
        "/"
    };
    let bucket_host = "item-1.storage.googleapis.com";
    let main = "storage.googleapis.com";
    let path = format!("/item-1{object}");
    let mut found = Vec::new();
    let mut add = |way, host: &str, verb: &str, target: &str, headers: &str, body: &str| {
        found.push(Attempt {
            way,
            how: How::Request {
                bytes: speaker.request(verb, target, host, headers, body),
                host: host.to_owned(),
            },
        });
    };
    add("XML", main, verb, &path, "", "");
    add("XML at the host of the bucket", bucket_host, verb, object, "", "");
    add(
        "XML with a subresource",
        main,
        verb,
        &format!("{path}?generation=1"),
        "",
        "",
    );
    add(
        "XML with an unknown subresource",
        main,
        verb,
        &format!("{path}?x"),
        "",
        "",
    );
    add("XML with two slashes", main, verb, &format!("/{path}"), "", "");
    add(
        "XML with an encoded slash",
        main,
        verb,
        &format!("/item-1%2F{}", &object[1..]),
        "",
        "",
    );
    add(
        "XML with a dot step",
        main,
        verb,
        &format!("/other/..{path}"),
        "",
        "",
    );
    add(
        "XML by an override",
        main,
        "GET",
        &path,
        &format!("X-HTTP-Method-Override: {verb}\r\n"),
        "",
    );
    add(
        "XML by an override at the bucket",
        bucket_host,
        "GET",
        object,
        &format!("X-HTTP-Method-Override: {verb}\r\n"),
        "",
    );
    let list = "<Delete><Object><Key>item-1</Key></Object></Delete>";
    add(
        "XML of many objects",
        main,
        "POST",
        "/item-1?delete",
        "Content-Type: application/xml\r\n",
        list,
    );
    add(
        "XML of another bucket by Host",
        main,
        verb,
        object,
        "Host: item-1.storage.googleapis.com\r\n",
        "",
    );
    add(
        "XML by a signed URL",
        main,
        verb,
        &format!("{path}?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature=00"),
        "",
        "",
    );
    add(
        "XML with keys of HMAC",
        main,
        verb,
        &path,
        "X-Amz-Date: 20260101T000000Z\r\n",
        "",
    );
    found
}
