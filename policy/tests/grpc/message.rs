//! Writing messages, apart from the code under test.

/// A field of text, by the numbers that lead to it.
pub(crate) fn text(path: &[u32], text: &str) -> Vec<u8> {
    let (last, outer) = path.split_last().expect("a field");
    nested(outer, delimited(*last, text.as_bytes()))
}

/// A field with a whole number.
pub(crate) fn number(path: &[u32], value: u64) -> Vec<u8> {
    let (last, outer) = path.split_last().expect("a field");
    let mut bytes = Vec::new();
    varint(u64::from(*last) << 3, &mut bytes);
    varint(value, &mut bytes);
    nested(outer, bytes)
}

/// Several fields of text, one after another.
pub(crate) fn texts(fields: &[(&[u32], &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(path, value)| text(path, value))
        .collect()
}

fn nested(path: &[u32], bytes: Vec<u8>) -> Vec<u8> {
    path.iter()
        .rev()
        .fold(bytes, |inner, number| delimited(*number, &inner))
}

fn delimited(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(u64::from(number) << 3 | 2, &mut out);
    varint(bytes.len() as u64, &mut out);
    out.extend(bytes);
    out
}

pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
