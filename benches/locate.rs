//! One side of `scripts/locate-vs-opencv.sh`, which starts it with a reference, its region `X,Y,WIDTH,HEIGHT` and the kind of locator, and says picture by picture what
//! to look at: after `FILE ROUNDS` it prints the milliseconds of the fastest round, and what was found: dx dy degrees score, or `-`.

use std::hint::black_box;
use std::io::{Write, stdin, stdout};
use std::path::Path;
use std::time::Instant;

use takt::part::Region;
use takt::vision::decode::read_image;
use takt::vision::grey::GreyImage;
use takt::vision::locator::{Kind, Locator, Settings};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let [reference, region, kind] = arguments.as_slice() else {
        println!("OpenCV is measured by scripts/locate-vs-opencv.sh, which runs this");
        return Ok(());
    };
    let sides: Vec<u32> = region.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let [x, y, width, height] = sides.try_into().map_err(|_| "a region is X,Y,WIDTH,HEIGHT")?;
    let kind = Kind::ALL
        .into_iter()
        .find(|known| known.name() == kind)
        .ok_or("the kind is edges or template")?;
    let settings = Settings {
        kind,
        ..Settings::default()
    };
    let locator = Locator::teach(&read(reference)?, Region { x, y, width, height }, settings)?;
    for line in stdin().lines() {
        let line = line?;
        let (file, rounds) = line.rsplit_once(' ').ok_or("a line is FILE ROUNDS")?;
        let frame = read(file)?;
        let mut fastest = f64::INFINITY;
        for _ in 0..rounds.parse::<u32>()? {
            let start = Instant::now();
            let _ = black_box(locator.locate(black_box(&frame)));
            fastest = fastest.min(start.elapsed().as_secs_f64() * 1e3);
        }
        match locator.locate(&frame) {
            Ok(found) => {
                let pose = found.pose;
                println!(
                    "{fastest} {} {} {} {}",
                    pose.dx_px,
                    pose.dy_px,
                    pose.angle_rad.to_degrees(),
                    found.score
                );
            }
            Err(why) => println!("{fastest} - {why}"),
        }
        stdout().flush()?;
    }
    Ok(())
}

fn read(file: &str) -> Result<GreyImage, Failure> {
    Ok(GreyImage::from_image(&read_image(Path::new(file))?))
}
