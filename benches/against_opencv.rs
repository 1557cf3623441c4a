//! One side of `scripts/preprocess-vs-opencv.sh`, which starts it with a folder of raw frames and says line by line what to do: after
//! `FORMAT ROUNDS` it prints the nanoseconds that each round took, and leaves the tensor in the folder.

use std::hint::black_box;
use std::io::{Write, stdin, stdout};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use takt::capture::{Frame, PixelFormat, Plane};
use takt::part::Nanos;
use takt::vision::preprocess::{Colour, Element, Filter, Fit, InputTensor, Layout, TensorSpec, TensorValues};

const SPEC: TensorSpec = TensorSpec {
    width: 256,
    height: 256,
    layout: Layout::Nchw,
    element: Element::F32,
    colour: Colour::Rgb,
    scale: 1.0 / 255.0,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
    fit: Fit::Stretch,
    filter: Filter::Area,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Cargo adds a flag of its own.
    let Some(folder) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) else {
        println!("OpenCV is measured by scripts/preprocess-vs-opencv.sh, which runs this");
        return Ok(());
    };
    for line in stdin().lines() {
        let line = line?;
        let (format, rounds) = line.split_once(' ').ok_or("a line is FORMAT ROUNDS")?;
        let format = PixelFormat::from_name(format).ok_or("there is no such format")?;
        println!("{}", measure(Path::new(&folder), format, rounds.parse()?)?);
        stdout().flush()?;
    }
    Ok(())
}

/// The nanoseconds of so many rounds, between spaces.
fn measure(folder: &Path, format: PixelFormat, rounds: u32) -> Result<String, Failure> {
    let frame = read(&folder.join(format.name()), format)?;
    let colour = if format == PixelFormat::Gray8 { Colour::Gray } else { Colour::Rgb };
    let mut tensor = InputTensor::new(TensorSpec { colour, ..SPEC }, 1)?;
    tensor.set_frame(0, &frame, None)?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        black_box(tensor.set_frame(0, black_box(&frame), None)?);
        times.push(start.elapsed().as_nanos().to_string());
    }
    let TensorValues::F32(values) = tensor.values() else {
        return Err("the tensor is not of floats".into());
    };
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(folder.join(format.name()).with_extension("tensor"), bytes)?;
    Ok(times.join(" "))
}

/// A frame of 1920x1080 pixels from its bytes without padding.
fn read(file: &Path, format: PixelFormat) -> Result<Frame, Failure> {
    let (width, height) = (1920, 1080);
    let mut offset = 0;
    let planes = format.plane_sizes(width, height).map(|(stride, rows)| {
        let plane = Plane { offset, stride };
        offset += stride * rows;
        plane
    });
    Ok(Frame {
        pixels: Arc::new(std::fs::read(file)?),
        format,
        width,
        height,
        planes,
        full_range: false,
        bt709: false,
        exposed_at: Nanos(0),
        counter: None,
    })
}
