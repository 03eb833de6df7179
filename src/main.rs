use std::process::ExitCode;

fn main() -> ExitCode {
    judged::cli::run().into()
}
