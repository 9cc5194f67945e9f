//! Input and output of verbs: captures, output files, standard output.

pub(super) mod capture_in;
pub(super) mod capture_out;
pub(super) mod output_files;
pub(super) mod print;
