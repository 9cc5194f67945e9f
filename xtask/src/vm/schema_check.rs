//! Validates captures against the JSON Schema of events with a third-party validator, jsonschema.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{r#gen, setup};

use super::packages::{Packages, partial, remove_dir};

/// jsonschema with its dependencies.
const PACKAGES: [&str; 3] = ["python3-jsonschema", "python3-pyrsistent", "python3-attr"];

/// Prints the number of valid lines, or the first invalid one on stderr. Corrupted variants of each line must be invalid too, which
/// shows that the schema does not accept everything.
const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
valid = 0
for path in sys.argv[2:]:
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        event = json.loads(line)
        for error in validator.iter_errors(event):
            causes = "; ".join(cause.message for cause in error.context if "was expected" not in cause.message)
            sys.exit(f"{path}:{number}: {error.message[:200]}: {causes[:800]}")
        for worse in ({"seq": -1}, {"type": "unheard-of"}, {"boot_ns": None}, {"time": 1}):
            if validator.is_valid({**event, **worse}):
                sys.exit(f"{path}:{number} is valid even with {worse}")
        odd = [key for key in event if key.endswith("_hex") and isinstance(event[key], str)]
        for key in odd:
            if validator.is_valid({**event, key: "6"}):
                sys.exit(f"{path}:{number} is valid even with half a byte in {key}")
        valid += 1
print(valid)
"#;

/// The valid captures in the repository.
const CAPTURES: [&str; 5] = [
    "captures/bytes.jsonl",
    "captures/generated.jsonl",
    "captures/outage-6.1.jsonl",
    "verdict/capture.jsonl",
    "verdict/hostile.jsonl",
];

/// Validates the captures in the repository, including those of every version, and a newly generated one.
pub(super) fn run(root: &Path, suite: &str) -> Result<()> {
    let python = prepare(root, suite)?;
    let fixtures = setup::workspace().join("tests/fixtures");
    let scratch = root.join("validated");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let mut files: Vec<PathBuf> = CAPTURES.iter().map(|name| fixtures.join(name)).collect();
    let versions = fixtures.join("captures/versions");
    for entry in fs::read_dir(&versions).with_context(|| format!("cannot read {}", versions.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", versions.display()))?.path();
        let text = scratch.join(path.file_stem().context("a fixture has no name")?);
        let packed = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let plain = zstd::decode_all(packed.as_slice()).with_context(|| format!("cannot unpack {}", path.display()))?;
        fs::write(&text, plain).with_context(|| format!("cannot write {}", text.display()))?;
        files.push(text);
    }
    let generated = scratch.join("generated.jsonl");
    r#gen::verb(&r#gen::Options::new(2_000, 2, generated.clone()))?;
    files.push(generated);
    let output = Command::new("python3")
        .args(["-c", VALIDATE])
        .arg(setup::workspace().join("docs/schema/event.json"))
        .args(&files)
        .env("PYTHONPATH", &python)
        .output()
        .context("cannot run python3")?;
    if !output.status.success() {
        bail!("docs/schema/event.json: {}", String::from_utf8_lossy(&output.stderr));
    }
    let valid = String::from_utf8_lossy(&output.stdout);
    println!("ok      {} events of {} captures match the schema", valid.trim(), files.len());
    Ok(())
}

/// Prepares the validator, and returns its Python path.
fn prepare(root: &Path, suite: &str) -> Result<PathBuf> {
    let dir = root.join("validator");
    let python = dir.join("usr/lib/python3/dist-packages");
    if !python.join("jsonschema").exists() {
        let packages = Packages::validator(root, suite, &PACKAGES)?;
        let staging = partial(&dir);
        remove_dir(&staging)?;
        remove_dir(&dir)?;
        fs::create_dir_all(&staging).with_context(|| format!("cannot create {}", staging.display()))?;
        packages.unpack(&staging)?;
        fs::rename(&staging, &dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    Ok(python)
}
