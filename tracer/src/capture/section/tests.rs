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

/// A pipe whose writer is still at work: each read gives the lines that are complete, and a seal covers all since the last one.
#[test]
fn sections_of_live_pipe_are_passed_on_at_once() {
    struct Pipe(std::vec::IntoIter<String>);
    impl std::io::Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some(part) = self.0.next() else { return Ok(0) };
            buffer[..part.len()].copy_from_slice(part.as_bytes());
            Ok(part.len())
        }
    }
    let (begin, end) = LINE.split_at(5);
    let parts = vec![format!("{LINE}{begin}"), end.to_owned(), SEAL.to_owned(), format!("{LINE}{SEAL}{LINE}")];
    let mut sections = Sections::new(Pipe(parts.into_iter())).live();
    let mut found = Vec::new();
    let mut left = Vec::new();
    while let Some(section) = sections.next_section(true).unwrap() {
        let Body::Text { text, is_complete, begun } = section.body else { panic!("{section:?}") };
        found.push((String::from_utf8(text).unwrap(), is_complete, begun.is_some()));
        left.push(sections.input.0.len());
    }
    let wanted = [
        (LINE.to_owned(), false, false),
        (LINE.to_owned(), false, true),
        (SEAL.to_owned(), false, true),
        (format!("{LINE}{SEAL}"), true, false),
        (LINE.to_owned(), false, false),
    ];
    assert_eq!(found, wanted);
    assert_eq!(left, [3, 2, 1, 0, 0], "no read before the lines of the last one were passed on");
}
