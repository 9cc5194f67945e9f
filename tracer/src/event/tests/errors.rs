//! Parse errors and their messages.

use crate::event::{Body, Event, ParseError, Parsed, parse};

/// An event with additional members.
fn with(members: &str) -> String {
    format!(r#"{{"seq":1,"time":"2026-03-01T00:00:00Z","boot_ns":2,{members}}}"#)
}

const INIT: &str = r#""type":"init","module":"xfs","pid":1,"start_ns":2,"ret":0,"duration_ns":3"#;

fn error(text: &str) -> String {
    parse(text.as_bytes()).expect_err(text).to_string()
}

fn assert_errors(cases: &[(String, &str)]) {
    for (text, expected) in cases {
        assert_eq!(error(text), *expected, "{text}");
    }
}

/// Each error is one sentence with the position or the member.
#[test]
fn parse_error_names_position_or_member() {
    let init = with(INIT);
    let without = |member: &str| init.replacen(member, "", 1);
    assert_errors(&[
        (String::new(), "invalid JSON: truncated at byte 0"),
        ("x".to_owned(), "invalid JSON at byte 0"),
        ("[1]".to_owned(), "invalid event: expected a JSON object"),
        ("{}".to_owned(), "missing member \"type\""),
        (init.replace("\"ret\":0", "\"ret\":00"), "invalid JSON at byte 108"),
        (init.replace("xfs", "x\tfs"), "invalid JSON at byte 76"),
        (init.replace("xfs", "\\ud800"), "invalid JSON at byte 81"),
        (init.replace("xfs", "\\q"), "invalid JSON at byte 76"),
        (init.replace(":3}", ":3]"), "invalid JSON at byte 124"),
        (init.replace(":3}", ":3,}"), "invalid JSON at byte 125"),
        (format!("{init} x"), "unexpected text after the event, at byte 126"),
        (format!("{init}{init}"), "unexpected text after the event, at byte 125"),
        (without("\"seq\":1,"), "missing member \"seq\""),
        (without("\"module\":\"xfs\","), "missing member \"module\""),
        (init.replace("\"seq\":1", "\"seq\":-1"), "invalid member \"seq\": expected an unsigned 64-bit integer"),
        (
            init.replace("\"pid\":1", "\"pid\":4294967296"),
            "invalid member \"pid\": expected an unsigned 32-bit integer",
        ),
        (init.replace("\"ret\":0", "\"ret\":0.5"), "invalid member \"ret\": expected a signed 32-bit integer"),
        (init.replace("2026-03-01", "yesterday"), "invalid member \"time\": expected a timestamp"),
        (init.replace("\"xfs\"", "7"), "invalid member \"module\": expected a string"),
        (init.replace("\"xfs\"", "null"), "invalid member \"module\": expected a string"),
        (init.replace("\"xfs\"", &"[".repeat(200)), "invalid JSON: nested too deeply at byte 202"),
        (with(&format!("\"request\":\"007-8\",{INIT}")), "invalid member \"request\": expected a request id"),
        (with(&format!("{INIT},\"ret\":1")), "duplicate member \"ret\""),
        (with(&format!("{INIT},\"r\\u0065t\":1")), "duplicate member \"ret\""),
        (with(&format!("{INIT},\"seq\":1")), "duplicate member \"seq\""),
        (
            with("\"type\":\"result\",\"status\":\"odd\",\"attribution\":\"exact\""),
            "invalid member \"status\": expected a known value",
        ),
        (with("\"type\":\"helper\",\"pid\":1,\"start_ns\":2,\"path\":\"x\""), "missing member \"attribution\""),
        (
            with("\"type\":\"result\",\"status\":\"loaded\",\"attribution\":\"exact\",\"loader\":{\"pid\":\"1\"}"),
            "invalid member \"loader.pid\": expected an unsigned 32-bit integer",
        ),
    ]);
    assert_eq!(parse(b"{\"type\":\"\xff\"}"), Err(ParseError::Utf8(9)));
}

/// A `_hex` that is superfluous or differs from the text is an error.
#[test]
fn hex_that_differs_from_text_is_error() {
    let module = |text: &str, hex: &str| init_of(&format!(r#""module":{text},"module_hex":{hex}"#));
    let argv = |texts: &str, hex: &str| {
        with(&format!(
            r#""type":"helper","pid":1,"start_ns":2,"path":"p","attribution":"exact","argv":{texts},"argv_hex":{hex}"#
        ))
    };
    let contradiction = |member: &str, why: &str| format!("member \"{member}_hex\" contradicts \"{member}\": {why}");
    let utf8 = "its bytes are valid UTF-8";
    let other = "its bytes differ from the text";
    let digits = "expected an even number of lower-case hexadecimal digits";
    for (text, hex, why) in [
        (r#""tipc""#, r#""786673""#, other),
        (r#""xfs""#, r#""786673""#, utf8),
        (r#""""#, r#""""#, utf8),
        ("\"\u{fffd}\"", r#""efbfbd""#, utf8),
        ("\"a\u{fffd}\"", r#""62ff""#, other),
        ("\"a\u{fffd}\"", r#""61ff0""#, digits),
        ("\"a\u{fffd}\"", r#""61FF""#, digits),
        ("\"a\u{fffd}\"", r#""61+f""#, digits),
    ] {
        assert_eq!(error(&module(text, hex)), contradiction("module", why), "{text} {hex}");
    }
    for (texts, hex, why) in [
        (r#"["a"]"#, r#"["61"]"#, utf8),
        ("[]", "[]", utf8),
        ("[\"a\",\"\u{fffd}\"]", r#"["62","ff"]"#, other),
        ("[\"a\",\"\u{fffd}\"]", r#"["ff"]"#, "the lists differ in length"),
        ("[\"a\",\"\u{fffd}\"]", r#"["61","f"]"#, digits),
    ] {
        assert_eq!(error(&argv(texts, hex)), contradiction("argv", why), "{texts} {hex}");
    }
    let alone = with(
        r#""type":"attempt","syscall":"finit_module","ret":-8,"errno":"ENOEXEC","file_hex":"ff","origin":"explicit",
        "process":{"pid":1,"tid":1,"start_ns":2,"comm":"c","uid":0,"euid":0,"gid":0},"ancestors":[],"attribution":"exact""#,
    );
    assert_eq!(error(&alone), contradiction("file", "the text is missing"));
    for good in [module("\"a\u{fffd}\"", r#""61ff""#), argv("[\"a\",\"\u{fffd}\"]", r#"["61","ff"]"#)] {
        assert!(matches!(parse(good.as_bytes()), Ok(Parsed::Event(_))), "{good}");
    }
}

fn init_of(module: &str) -> String {
    with(&INIT.replace("\"module\":\"xfs\"", module))
}

/// Equivalent JSON forms of other writers are accepted.
#[test]
fn equivalent_json_forms_are_accepted() {
    let Ok(Parsed::Event(event)) = parse(with(INIT).as_bytes()) else { panic!() };
    for same in [
        format!("  {} \r\n", with(INIT)),
        format!(r#"{{{INIT},"boot_ns":2,"time":"2026-03-01T01:00:00+01:00","seq":1}}"#),
        with(&INIT.replace("\"init\"", "\"\\u0069nit\"")),
        with(&INIT.replace("\"type\"", "\"t\\u0079pe\"")),
        with(&INIT.replacen("\"type\":\"init\",", "", 1)).replace('}', ",\"type\":\"init\"}"),
        with(&format!("{INIT},\"effect\":null,\"later\":{{\"type\":[\"load\"]}},\"module2\":\"\"")),
    ] {
        assert_eq!(parse(same.as_bytes()), Ok(Parsed::Event(event.clone())), "{same}");
    }
}

/// An unknown type is an error only for a reader that needs an event.
#[test]
fn unknown_type_is_no_error_of_the_line() {
    let unknown = with(r#""type":"future","request":"1-2","seen":{"type":"load"}"#);
    assert_eq!(parse(unknown.as_bytes()), Ok(Parsed::Unknown { seq: 1 }));
    let behind = with(r#""seen":[1],"type":"future""#);
    assert_eq!(parse(behind.as_bytes()), Ok(Parsed::Unknown { seq: 1 }));
    assert!(
        serde_json::from_str::<Event>(&unknown).unwrap_err().to_string().starts_with("an event of an unknown type")
    );
    assert!(serde_json::from_str::<Body>(r#"{"type":"future"}"#).is_err());
    assert_errors(&[
        (unknown.replace("\"seq\":1,", ""), "missing member \"seq\""),
        (format!("{unknown}x"), "unexpected text after the event, at byte 106"),
        (unknown.replace("\"load\"}", "\"load\"]"), "invalid JSON at byte 104"),
        (with(r#""type":"future","a":1,"a":1"#), "duplicate member \"a\""),
        (with(r#""type":"future","type":"load""#), "duplicate member \"type\""),
    ]);
}

/// A header of a later version is reported with its version, and input text in errors is short.
#[test]
fn header_of_later_version_is_reported() {
    let header = |schema: &str, tool: &str| with(&format!(r#""type":"header","schema":{schema},"tool":"{tool}""#));
    let later = |text: &str| match parse(text.as_bytes()) {
        Err(ParseError::Version { schema, tool }) => (schema, tool),
        other => panic!("{other:?}: {text}"),
    };
    assert_eq!(later(&header("2", "kmodtrace 9")), (2, "kmodtrace 9".to_owned()));
    assert_eq!(later(r#"{"tool":7,"schema":99999999999,"type":"header"}"#).0, 99_999_999_999);
    assert_eq!(later(r#"{"schema":2,"type":"h\u0065ader"}"#).1, "the kmodtrace that wrote it");
    let (_, long) = later(&header("2", &"\\u001b".repeat(1000)));
    assert!(long.len() < 512 && long.ends_with("...") && !long.contains(char::is_control), "{long}");
    assert_eq!(error(&header("1", "kmodtrace 1")), "missing member \"kernel\"");
    assert!(matches!(parse(format!("{} x", header("2", "t")).as_bytes()), Err(ParseError::Missing(_))));

    let long = "\u{1b}x".repeat(1000);
    let doubled = with(&format!("{INIT},{0}:1,{0}:1", serde_json::json!(long)));
    let message = error(&doubled);
    assert!(message.len() < 512 && !message.contains(char::is_control), "{message}");
}

/// A header of a later version is an error even if this version can parse it.
#[test]
fn parsable_header_of_later_version_is_error() {
    let text = include_str!("../../../../tests/fixtures/captures/outage-6.1.jsonl").lines().next().unwrap();
    assert!(parse(text.as_bytes()).is_ok());
    let later = text.replacen("\"schema\":1", "\"schema\":2", 1);
    assert!(matches!(parse(later.as_bytes()), Err(ParseError::Version { schema: 2, .. })));
    assert!(serde_json::from_str::<Event>(&later).is_err());
}
