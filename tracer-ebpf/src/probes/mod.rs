//! One file a hook. The kernel prototype stands above the programs; where a hook has two ways to be
//! attached, both programs do the same thing and only one is loaded.

mod call_usermodehelper_exec;
mod call_usermodehelper_exec_async;
mod do_init_module;
mod kthread_create_on_node;
mod module;
mod module_free;
mod module_load;
mod module_request;
mod module_syscalls;
mod request_module;
mod security_kernel_module_request;
mod security_kernel_read_file;
