//! The `banyan` command.

fn main() -> std::process::ExitCode {
    banyan::cli::run()
}
