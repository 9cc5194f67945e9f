//! Arbitrary bytes as the kernel's BTF.
#![no_main]

use kmodtrace::kernel::btf::Btf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes) else { return };
    let _ = btf.offset(&["task_struct", "real_parent"]);
    let _ = btf.offset(&["a", "b", "c"]);
    let _ = btf.struct_size("task_struct");
    let _ = btf.enum_value("kernel_read_file_id", "READING_MODULE");
    let _ = btf.has_func("free_module");
    let _ = btf.func("a");
    let _ = btf.func_param_count("b");
});
