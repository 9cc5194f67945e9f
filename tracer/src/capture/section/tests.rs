use super::{Body, Damage, SectionError, Sections};

const LINE: &str = "{\"seq\":1,\"type\":\"loss\"}\n";
const SEAL: &str = "{\"seq\":2,\"type\":\"seal\",\"sha256\":\"\"}\n";

fn frame(text: &str) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
    compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true)).unwrap();
    compressor.compress(text.as_bytes()).unwrap()
}

/// The sections of a file: `f` a frame, `t` text, `T` a complete section of text, `d` damage, `x` a torn section.
fn split(bytes: &[u8]) -> String {
    let mut sections = Sections::new(bytes);
    let (mut out, mut offset) = (String::new(), 0);
    loop {
        match sections.next_section(true) {
            Ok(Some(section)) => {
                assert!(section.offset >= offset, "sections are in order");
                offset = section.offset;
                out.push(match section.body {
                    Body::Frame(_) => 'f',
                    Body::Text { is_complete: true, .. } => 'T',
                    Body::Text { is_complete: false, .. } => 't',
                    Body::Gap(Damage::Torn) => 'x',
                    Body::Gap(_) => 'd',
                });
            }
            Ok(None) => return out,
            Err(SectionError::NotACapture) => return "not a capture".to_owned(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Frames, text and other data with damage at any place are split at the next frame.
#[test]
fn sections_of_damaged_file_resume_at_next_frame() {
    let one = frame(LINE);
    let three = [&one[..], &one, &one].concat();
    let with = |at: usize| {
        let mut bytes = three.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    assert_eq!(split(&three), "fff");
    assert_eq!(split(&three[..three.len() - 1]), "ffx");
    assert_eq!(split(&with(0)), "dff", "the first magic");
    assert_eq!(split(&with(one.len())), "fdf", "the magic of the second");
    assert_eq!(split(&with(2 * one.len())), "ffx", "the magic of the last");
    assert_eq!(split(&[&three[..], b"garbage"].concat()), "fffx");
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &three].concat();
    assert_eq!(split(&skippable), "fff");
    assert_eq!(split(LINE.repeat(3).as_bytes()), "T");
    assert_eq!(split(format!("{LINE}{SEAL}{LINE}{SEAL}{LINE}").as_bytes()), "TTT");
    assert_eq!(split(format!("{LINE}{SEAL}").trim_end().as_bytes()), "T", "a seal without its line end");
    assert_eq!(split(b"hello\nworld\n"), "not a capture");
    assert_eq!(split(b""), "");
}

/// A frame that is too large to be decoded at once is split at its seals, like plain text.
#[test]
fn sections_of_large_frame_are_split_at_seals() {
    let text = format!("{LINE}{SEAL}").repeat(200_000);
    let large = zstd::encode_all(text.as_bytes(), 1).unwrap();
    assert_eq!(split(&large).len(), 200_000);
    assert!(split(&large).bytes().all(|kind| kind == b'T'));
    assert!(split(&large[..large.len() / 2]).ends_with('x'));
}

/// A line of any length takes bounded memory and does not affect other lines.
#[test]
fn sections_skip_overlong_line() {
    let long = format!("{{\"seq\":1,\"x\":\"{}\"}}\n", "a".repeat(6 << 20));
    assert_eq!(split(format!("{LINE}{long}{LINE}").as_bytes()), "tdt");
}
