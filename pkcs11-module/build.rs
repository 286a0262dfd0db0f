//! Link options of the module: applications find the functions of the standard in it and nothing else, and its own
//! table refers to its own functions even where another module's are loaded globally.

fn main() {
    if std::env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|system| system == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
