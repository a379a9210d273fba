//! Archives as programs write them: sources for functions and builds.

use std::io::{Cursor, Write as _};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{Limits, Why, found, gzip, object, places, scan, tar, token, unscannable, within, zip};

#[test]
fn members_are_found_by_their_names_and_lines() {
    let secret = token(31);
    let members: [(&str, &[u8]); 4] = [
        ("src/", b""),
        (
            "src/config.py",
            &format!("import os\n\nTOKEN = '{secret}'\n").into_bytes(),
        ),
        ("a.json", &format!("{{\"x\": [\"{secret}\"]}}").into_bytes()),
        ("clean.txt", b"nothing"),
    ];
    found(
        &scan(&object("source.zip"), zip(&members)),
        &["source.zip!src/config.py line 3", "source.zip!a.json x[0]"],
    );
    let members = &members[1..];
    let at = ["source.tar!src/config.py line 3", "source.tar!a.json x[0]"];
    found(&scan(&object("source.tar"), tar(members)), &at);
    let at = ["source.tgz!src/config.py line 3", "source.tgz!a.json x[0]"];
    found(&scan(&object("source.tgz"), gzip(tar(members))), &at);
    found(&scan(&object("a.py.gz"), gzip(members[0].1)), &["a.py.gz line 3"]);
    // By what they are, not by what they are called.
    found(
        &scan(&object("a.txt"), zip(members)),
        &["a.txt!src/config.py line 3", "a.txt!a.json x[0]"],
    );
}

#[test]
fn every_way_to_write_a_zip_is_read() {
    let secret = token(32);
    let content = format!("{secret}\n{}", "text ".repeat(1000));
    let write = |options: SimpleFileOptions, mut writer: ZipWriter<Cursor<Vec<u8>>>| {
        for name in ["one", "zwei/ü.txt"] {
            writer.start_file(name, options).expect("a member");
            writer.write_all(content.as_bytes()).expect("memory takes it");
        }
        writer.set_comment("a comment").expect("it is short");
        writer.finish().expect("an archive").into_inner()
    };
    let plain = SimpleFileOptions::default();
    let at = ["z!one line 1", "z!zwei/ü.txt line 1"];
    for options in [
        plain.compression_method(CompressionMethod::Stored),
        plain.compression_method(CompressionMethod::Deflated),
        plain.large_file(true),
    ] {
        found(
            &scan(
                &object("z"),
                write(options, ZipWriter::new(Cursor::new(Vec::new()))),
            ),
            &at,
        );
    }
    // Written to a pipe: sizes stand behind the members.
    let mut streamed = ZipWriter::new_stream(Vec::new());
    for name in ["one", "zwei/ü.txt"] {
        streamed.start_file(name, plain).expect("a member");
        streamed.write_all(content.as_bytes()).expect("memory takes it");
    }
    let streamed = streamed.finish().expect("an archive").into_inner();
    found(&scan(&object("z"), streamed), &at);
    found(&scan(&object("z"), zip(&[])), &[]);
}

#[test]
fn long_names_in_tar_are_read_in_both_ways() {
    let secret = token(33);
    let long = format!("{}/x.txt", ["directory"; 20].join("/"));
    let archive = tar(&[(&long, secret.as_bytes()), ("b", secret.as_bytes())]);
    found(
        &scan(&object("t"), archive),
        &[&format!("t!{long} line 1"), "t!b line 1"],
    );
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(secret.len() as u64);
    header.set_path("short").expect("a path");
    header.set_cksum();
    builder
        .append_pax_extensions([
            ("path", long.as_bytes()),
            ("SCHILY.xattr.user.note", secret.as_bytes()),
        ])
        .expect("records");
    builder.append(&header, secret.as_bytes()).expect("a member");
    let archive = builder.into_inner().expect("an archive");
    found(
        &scan(&object("t"), archive),
        &["t line 2", &format!("t!{long} line 1")],
    );
}

#[test]
fn archives_stand_inside_of_each_other() {
    let secret = token(34);
    let one = zip(&[("a.txt", secret.as_bytes())]);
    let two = tar(&[("one.jar", &one)]);
    let three = zip(&[("two.tar.gz", &gzip(&two))]);
    found(
        &scan(&object("3.zip"), &three),
        &["3.zip!two.tar.gz!one.jar!a.txt line 1"],
    );
    let four = tar(&[("3.zip", &three), ("b.txt", secret.as_bytes())]);
    let findings = scan(&object("4.tar"), four);
    assert_eq!(places(&findings), [("github-token", "4.tar!b.txt line 1")]);
    unscannable(&findings, Why::Depth(3), "4.tar!3.zip!two.tar.gz!one.jar");
    let coded = (0..4).fold(secret.clone().into_bytes(), |inner, _| gzip(inner));
    unscannable(&scan(&object("4.gz"), coded), Why::Depth(3), "4.gz");
    let coded = (0..3).fold(secret.into_bytes(), |inner, _| gzip(inner));
    found(&scan(&object("3.gz"), coded), &["3.gz line 1"]);
}

#[test]
fn what_is_over_a_limit_is_unscannable_and_the_rest_is_searched() {
    let secret = token(35);
    let zeros = vec![0; 3 << 20];
    let bomb = zip(&[
        ("first.txt", secret.as_bytes()),
        ("zeros", &zeros),
        ("last.txt", secret.as_bytes()),
    ]);
    let check = |limits: Limits, why: Why, place: &str, hits: &[&str]| {
        let findings = within(limits).scan_now(&object("z"), &mut Cursor::new(&bomb));
        let at: Vec<&str> = places(&findings).into_iter().map(|(_, place)| place).collect();
        assert_eq!(at, hits);
        unscannable(&findings, why, place);
    };
    let limits = Limits {
        free: 1 << 16,
        ..Limits::default()
    };
    check(
        limits,
        Why::Ratio(200),
        "z!zeros",
        &["z!first.txt line 1", "z!last.txt line 1"],
    );
    let limits = Limits {
        expanded: 1 << 20,
        ..Limits::default()
    };
    check(limits, Why::Expanded(1 << 20), "z!zeros", &["z!first.txt line 1"]);
    let limits = Limits {
        members: 2,
        ..Limits::default()
    };
    check(limits, Why::Members(2), "z", &[]);
    let many: Vec<(String, &[u8])> = (0..20).map(|n| (format!("{n}"), secret.as_bytes())).collect();
    let many: Vec<(&str, &[u8])> = many
        .iter()
        .map(|(name, content)| (name.as_str(), *content))
        .collect();
    let limits = Limits {
        members: 5,
        ..Limits::default()
    };
    let findings = within(limits).scan_now(&object("t"), &mut Cursor::new(tar(&many)));
    assert_eq!(findings.hits.len(), 5);
    unscannable(&findings, Why::Members(5), "t");
}
