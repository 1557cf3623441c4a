//! Declarations of Linux's V4L2, `linux/videodev2.h`, as `scripts/v4l2-bindings.sh` makes them with bindgen.
//!
//! They hold for 64-bit little-endian machines with glibc or musl: the header has nothing that differs among these but the sign of `char`,
//! which is `c_char` here. Each structure's size and the place of each field is checked when this is compiled; that a C compiler has them
//! there too is checked by takt's tests (`tests/v4l2_bindings.rs`).

#![allow(warnings, clippy::all, clippy::pedantic)]

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("these declarations are those of 64-bit little-endian machines; make others with scripts/v4l2-bindings.sh");

include!("bindings.rs");
