//! Compiles the gRPC contract: proto files become Rust, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["record.proto", "historian.proto", "station.proto", "codes.proto"].map(|file| format!("proto/takt/v1/{file}"));
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(&files, ["proto"])?;
    let folder = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    // What reflection tells about the services.
    std::fs::write(folder.join("takt.v1.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        // Bodies of records are large beside the other messages of their enums.
        .boxed(".takt.v1.Record.body.part")
        .compile_fds(descriptors)?;
    Ok(())
}
