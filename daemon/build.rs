//! Tells cargo that the migrations are part of the program: `sqlx::migrate!` cannot see a file that is added later.

fn main() {
    // The build script's only way to speak to cargo.
    #[allow(clippy::print_stdout)]
    {
        println!("cargo::rerun-if-changed=migrations");
    }
}
