//! Recordings that the tests damage: segments of frames, each frame as its text with its seal.

use std::{fs, sync::Arc};

use kmodtrace::{
    capture::{
        frame::FrameMaker,
        hash::{NO_HASH, hash, to_hex},
        sign::Key,
    },
    event::Event,
};
use serde_json::{Value, json};
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use super::common::captures;

/// Frames, each as its text.
pub(crate) type Frames = Vec<String>;

/// Segments of a recording.
pub(crate) const SEGMENTS: u32 = 3;

/// Frames of a segment.
pub(crate) const FRAMES: usize = 3;

/// The module that is loaded in every frame.
pub(crate) const NEEDED: &str = "needed";

/// The alias of a request in the first frame that loads nothing.
pub(crate) const NOT_NEEDED: &str = "fs-nosuchfs";

/// The contents of a recording.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) host: &'static str,
    pub(crate) boot: &'static str,
    pub(crate) id: &'static str,
    /// The prefix of the names of modules.
    pub(crate) modules: &'static str,
    /// When it begins, seconds of Unix time.
    pub(crate) start: i64,
    pub(crate) filters: &'static [&'static str],
    pub(crate) has_hooks: bool,
    pub(crate) key: Option<Arc<Key>>,
}

/// The recording that is damaged in most rows.
pub(crate) const ALPHA: Spec = Spec {
    host: "alpha",
    boot: "boot-alpha",
    id: "recording-alpha",
    modules: "m",
    start: 1_795_000_000,
    filters: &[],
    has_hooks: true,
    key: None,
};

/// A recording of another host that began a second later.
pub(crate) const BETA: Spec = Spec {
    host: "beta",
    boot: "boot-beta",
    id: "recording-beta",
    modules: "m",
    start: 1_795_000_001,
    filters: &[],
    has_hooks: true,
    key: None,
};

/// Creates a recording like the recorder.
pub(crate) fn record(spec: &Spec) -> Vec<Frames> {
    let stored = fs::read_to_string(captures().join("outage-6.1.jsonl")).unwrap();
    let stored: Vec<Value> = stored.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut maker = FrameMaker::new(spec.key.clone()).unwrap();
    let mut number = 0;
    let mut push = |maker: &mut FrameMaker, mut event: Value| {
        number += 1;
        let time = jiff::Timestamp::new(spec.start, number * 1_000_000).unwrap();
        event["time"] = json!(time.to_string());
        event["boot_ns"] = json!(7_000_000_000_i64 + i64::from(number) * 1_000_000);
        maker.push(&serde_json::from_value::<Event>(event).unwrap()).unwrap();
    };
    let mut loads = 0;
    let mut segments = Vec::new();
    for segment in 0..SEGMENTS {
        let mut frames = Vec::new();
        for frame in 0..FRAMES {
            if frame == 0 {
                let mut header = stored[0].clone();
                for (member, value) in [
                    ("hostname", json!(spec.host)),
                    ("boot_id", json!(spec.boot)),
                    ("recording", json!(spec.id)),
                    ("segment", json!(segment)),
                    ("filters", json!(spec.filters)),
                ] {
                    header[member] = value;
                }
                if segment > 0 {
                    header["previous"] = json!(to_hex(maker.previous()));
                }
                if !spec.has_hooks {
                    header["hooks"] = json!([]);
                }
                push(&mut maker, header);
                push(&mut maker, stored[1].clone());
            }
            if segment == 0 && frame == 0 {
                stored[25..=27].iter().for_each(|event| push(&mut maker, event.clone()));
            }
            for module in [NEEDED.to_owned(), format!("{}{loads}", spec.modules)] {
                loads += 1;
                let (mut load, mut init) = (stored[2].clone(), stored[3].clone());
                load["module"] = json!(module);
                load["process"]["pid"] = json!(1000 + loads);
                load["process"]["tid"] = json!(1000 + loads);
                init["module"] = json!(module);
                init["pid"] = json!(1000 + loads);
                let mut result = stored[35].clone();
                result["loader"] = json!({"pid": init["pid"], "start_ns": init["start_ns"]});
                [load, init, result].into_iter().for_each(|event| push(&mut maker, event));
            }
            if segment + 1 == SEGMENTS && frame + 1 == FRAMES {
                push(
                    &mut maker,
                    json!({"seq": 0, "type": "end", "requests": 1, "loads": loads, "unloads": 0, "lost": 0}),
                );
            }
            let frame = maker.close().unwrap().unwrap();
            frames.push(String::from_utf8(zstd::stream::decode_all(frame.bytes.as_slice()).unwrap()).unwrap());
        }
        segments.push(frames);
    }
    segments
}

/// The bytes of a frame, packed like the recorder does.
pub(crate) fn pack(text: &str) -> Vec<u8> {
    let mut compressor = Compressor::new(3).unwrap();
    for parameter in [CParameter::ChecksumFlag(true), CParameter::ContentSizeFlag(true)] {
        compressor.set_parameter(parameter).unwrap();
    }
    compressor.compress(text.as_bytes()).unwrap()
}

/// The bytes of a file with these frames.
pub(crate) fn file<'a>(frames: impl IntoIterator<Item = &'a String>) -> Vec<u8> {
    frames.into_iter().flat_map(|frame| pack(frame)).collect()
}

/// Renumbers and reseals the events, as an attacker with write access can. Frames without a seal stay unsealed.
pub(crate) fn reseal(segments: &[Frames], key: Option<&Key>) -> Vec<Frames> {
    let mut seq = 0;
    let mut previous = to_hex(&NO_HASH);
    let mut frame = |text: &String| {
        let first = seq;
        let mut sealed = String::new();
        for line in text.lines() {
            let (_, rest) = line.strip_prefix("{\"seq\":").map_or(("", line), |rest| rest.split_once(',').unwrap());
            if !line.starts_with("{\"seq\":") {
                sealed += line;
            } else if let Some((begin, _)) =
                rest.split_once("\"first_seq\"").filter(|_| rest.contains("\"type\":\"seal\""))
            {
                let last = seq - 1;
                sealed += &format!(
                    "{{\"seq\":{seq},{begin}\"first_seq\":{first},\"last_seq\":{last},\"previous\":\"{previous}\""
                );
                let sum = hash(sealed.as_bytes());
                previous = to_hex(&sum);
                sealed += &format!(",\"sha256\":\"{previous}\"");
                sealed += &key.map_or_else(String::new, |key| format!(",\"signature\":\"{}\"", key.sign(&sum)));
                sealed += "}";
                seq += 1;
            } else {
                let rest =
                    rest.split_once("\"previous\":\"").filter(|_| rest.contains("\"type\":\"header\"")).map_or_else(
                        || rest.to_owned(),
                        |(begin, end)| format!("{begin}\"previous\":\"{previous}{}", &end[64..]),
                    );
                sealed += &format!("{{\"seq\":{seq},{rest}");
                seq += 1;
            }
            sealed.push('\n');
        }
        sealed
    };
    segments.iter().map(|frames| frames.iter().map(&mut frame).collect()).collect()
}
