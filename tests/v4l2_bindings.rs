//! The declarations of V4L2 in `src/capture/v4l/sys` are what this machine's C compiler makes of this machine's `linux/videodev2.h`.

use std::io::Write;
use std::mem::{offset_of, size_of};
use std::process::{Command, Stdio};

use v4l::v4l_sys::*;
use v4l::v4l2::vidioc;

/// Expressions in C and the numbers that they are here: the size of a structure and the place of each field, which C may call by another name.
macro_rules! layout {
    ($structure:ident: $($field:ident $(= $other:literal)?),+) => {{
        let mut numbers = vec![(concat!("sizeof(struct ", stringify!($structure), ")").to_owned(), size_of::<$structure>() as u64)];
        $(
            let field = [$($other,)? stringify!($field)][0];
            numbers.push((format!("offsetof(struct {}, {field})", stringify!($structure)), offset_of!($structure, $field) as u64));
        )+
        numbers
    }};
}

/// Names of requests and their numbers here.
macro_rules! requests {
    ($($request:ident),+) => {
        vec![$((stringify!($request).to_owned(), vidioc::$request)),+]
    };
}

/// What takt and the crate `v4l` tell the kernel and hear from it, for all that takt asks.
fn declared() -> Vec<(String, u64)> {
    [
        layout!(v4l2_capability: driver, card, bus_info, version, capabilities, device_caps),
        layout!(v4l2_fmtdesc: index, type_ = "type", flags, description, pixelformat),
        layout!(v4l2_format: type_ = "type", fmt),
        layout!(v4l2_pix_format: width, height, pixelformat, field, bytesperline, sizeimage, colorspace, priv_ = "priv", flags,
            __bindgen_anon_1 = "ycbcr_enc", quantization, xfer_func),
        layout!(v4l2_requestbuffers: count, type_ = "type", memory),
        layout!(v4l2_buffer: index, type_ = "type", bytesused, flags, field, timestamp, sequence, memory, m, length),
        layout!(timeval: tv_sec, tv_usec),
        layout!(v4l2_streamparm: type_ = "type", parm),
        layout!(v4l2_captureparm: capability, capturemode, timeperframe),
        layout!(v4l2_fract: numerator, denominator),
        layout!(v4l2_query_ext_ctrl: id, type_ = "type", name, minimum, maximum, step, default_value, flags),
        layout!(v4l2_querymenu: id, index, __bindgen_anon_1 = "name"),
        layout!(v4l2_ext_control: id, size, __bindgen_anon_1 = "value64"),
        layout!(v4l2_ext_controls: count, error_idx, controls),
        requests!(
            VIDIOC_QUERYCAP,
            VIDIOC_ENUM_FMT,
            VIDIOC_G_FMT,
            VIDIOC_S_FMT,
            VIDIOC_REQBUFS,
            VIDIOC_QUERYBUF,
            VIDIOC_QBUF,
            VIDIOC_DQBUF,
            VIDIOC_STREAMON,
            VIDIOC_STREAMOFF,
            VIDIOC_G_PARM,
            VIDIOC_S_PARM,
            VIDIOC_QUERYMENU,
            VIDIOC_QUERY_EXT_CTRL,
            VIDIOC_S_EXT_CTRLS
        ),
        vec![
            ("V4L2_CTRL_FLAG_NEXT_CTRL".to_owned(), u64::from(V4L2_CTRL_FLAG_NEXT_CTRL)),
            ("V4L2_YCBCR_ENC_709".to_owned(), u64::from(v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_709)),
            (
                "V4L2_YCBCR_ENC_XV709".to_owned(),
                u64::from(v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_XV709),
            ),
        ],
    ]
    .concat()
}

/// What the C compiler has against these numbers.
fn objections(numbers: &[(String, u64)]) -> String {
    let assertion =
        |(expression, number): &(String, u64)| format!("_Static_assert({expression} == {number}ull, \"is not {number}: {expression}\");\n");
    let includes = "#include <stddef.h>\n#include <linux/videodev2.h>\n";
    let source = includes.to_owned() + &numbers.iter().map(assertion).collect::<Vec<_>>().concat();
    let mut compiler = Command::new("cc")
        .args(["-fsyntax-only", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let output = compiler.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

#[test]
fn structures_and_requests_are_those_of_the_c_compiler() {
    let declared = declared();
    assert!(declared.len() > 80, "only {} numbers", declared.len());
    assert_eq!(objections(&declared), "");
}

#[test]
fn a_field_elsewhere_is_noticed() {
    let mut declared = declared();
    let sequence = declared
        .iter_mut()
        .find(|(expression, _)| expression.contains("v4l2_buffer, sequence"))
        .unwrap();
    sequence.1 += 4;
    let said = objections(&declared);
    assert!(said.contains("offsetof(struct v4l2_buffer, sequence)"), "{said}");
}
