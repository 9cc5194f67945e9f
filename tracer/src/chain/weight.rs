//! Memory use of events, to bound chains in bytes: names may be as long as lines.

use crate::event::{
    Ancestor, Attempt, Attribution, Behalf, Device, Frame, Helper, Init, Load, Outcome, Process, Request, Text,
};

/// Heap memory of a value.
pub(super) trait Heap: Sized {
    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize;

    /// Total bytes.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.heap_bytes()
    }
}

/// Allocator overhead per allocation.
const PIECE_BYTES: usize = 16;

fn piece(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + PIECE_BYTES }
}

impl Heap for String {
    fn heap_bytes(&self) -> usize {
        piece(self.capacity())
    }
}

impl Heap for Text {
    fn heap_bytes(&self) -> usize {
        piece(self.as_bytes().len())
    }
}

impl<Value: Heap> Heap for Option<Value> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Heap::heap_bytes)
    }
}

impl<Value: Heap> Heap for Vec<Value> {
    fn heap_bytes(&self) -> usize {
        piece(self.capacity() * size_of::<Value>()) + self.iter().map(Heap::heap_bytes).sum::<usize>()
    }
}

/// Implements the trait for structs, as the sum of their fields.
macro_rules! heap_of_fields {
    ($($value:ty: $($field:ident)*;)*) => {
        $(impl Heap for $value {
            fn heap_bytes(&self) -> usize {
                0 $(+ self.$field.heap_bytes())*
            }
        })*
    };
}

heap_of_fields! {
    Attribution: rule;
    Frame: address symbol module;
    Ancestor: comm exe script;
    Behalf: comm attribution;
    Device: devpath modalias subsystem action devpaths attribution;
    Process: comm exe argv user login_user caps cgroup cgroup_controller unit container pod;
    Request: name process ancestors syscall syscall_abi stack user_stack parent_attribution in_init behalf explanation attribution;
    Helper: path argv attribution;
    Load: module process ancestors file taints device attribution;
    Init: module effect;
    Attempt: syscall errno module file process ancestors attribution;
    Outcome: errno detail attribution;
}

#[cfg(test)]
mod tests {
    use super::Heap;
    use crate::{chain::samples, event::Body, event::Text};

    /// The memory use grows by the growth of any field.
    #[test]
    fn heap_bytes_grow_with_names() {
        let (mut requests, mut loads) = (0, 0);
        for event in samples::events() {
            let long = || Text::from("x".repeat(1_000_000));
            let (before, after) = match event.body {
                Body::Request(mut request) => {
                    requests += 1;
                    let before = request.bytes();
                    request.process.argv.push(long());
                    (before, request.bytes())
                }
                Body::Load(mut load) => {
                    loads += 1;
                    let before = load.bytes();
                    load.ancestors.push(crate::event::Ancestor { script: Some(long()), ..Default::default() });
                    (before, load.bytes())
                }
                _ => continue,
            };
            assert!((1_000_000..1_010_000).contains(&(after - before)), "{before} {after}");
        }
        assert!(requests > 0 && loads > 0);
    }
}
