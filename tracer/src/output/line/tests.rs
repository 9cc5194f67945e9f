use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
};

use super::Lines;
use crate::{
    chain::{Item, samples},
    output::Style,
    stream::{Consumer, StreamInfo},
};

#[derive(Clone, Default)]
struct Page(Rc<RefCell<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text written by `write`.
fn page(width: Option<usize>, write: impl FnOnce(&mut Lines)) -> String {
    let page = Page::default();
    let style = Style { utc: true, width, ..Style::default() };
    write(&mut Lines::new(Box::new(page.clone()), style));
    String::from_utf8(page.0.take()).unwrap()
}

fn items(lines: &mut Lines) {
    let items = [
        samples::outage(),
        samples::nested(),
        samples::not_found(),
        samples::by_hand(),
        samples::unload(),
        samples::failed_unload(),
        samples::loss(),
    ];
    items.iter().for_each(|item| lines.item(item, &StreamInfo::default()).unwrap());
}

/// All kinds of items are aligned in columns.
#[test]
fn lines_of_all_items_are_aligned() {
    assert_eq!(page(None, items), include_str!("lines.txt"));
}

/// No line is wider than the terminal, and narrow terminals have narrow columns.
#[test]
fn lines_on_narrow_terminal_fit() {
    let narrow = page(Some(80), items);
    assert_eq!(narrow, include_str!("narrow.txt"));
    for width in [20, 40, 80, 100, 120, 200] {
        let text = page(Some(width), items);
        assert!(text.lines().all(|line| line.chars().count() <= width.max(24 + 15)), "{width}:\n{text}");
    }
}

/// A hostile name adds no lines and no control characters.
#[test]
fn line_hostile_name_is_escaped() {
    let hostile = page(None, |lines| lines.item(&samples::hostile(), &StreamInfo::default()).unwrap());
    assert_eq!(hostile.lines().count(), 2, "{hostile}");
    assert!(!hostile.trim_end().contains(|c: char| c.is_control() && c != '\n'), "{hostile:?}");
}

/// A request that blocks for more than a second is shown once while it runs, and again when it ends.
#[test]
fn line_long_request_is_shown_while_running() {
    let Item::Chain(mut chain) = samples::not_found() else { unreachable!("the sample is a chain") };
    chain.result = None;
    let text = page(None, |lines| {
        for now_ns in [500_000_000, 1_500_000_000, 2_500_000_000] {
            lines.tick(&mut std::iter::once(&*chain), now_ns).unwrap();
        }
        lines.item(&samples::not_found(), &StreamInfo::default()).unwrap();
    });
    let shown: Vec<&str> = text.lines().skip(1).map(|line| line[13..27].trim()).collect();
    assert_eq!(shown, ["running", "not-found"], "{text}");
    assert!(text.contains(">1.4 s"), "{text}");
}

/// Repeats are one line with their count and rate.
#[test]
fn lines_of_repeats_are_collapsed() {
    let text = page(None, |lines| {
        for number in 0..50 {
            let Item::Chain(mut chain) = samples::not_found() else { unreachable!("the sample is a chain") };
            chain.boot_ns = number * 10_000_000;
            lines.item(&Item::Chain(chain), &StreamInfo::default()).unwrap();
        }
        lines.finish().unwrap();
    });
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("x49") && text.contains("49 more in 490 ms, 100/s"), "{text}");
}
