//! Levenberg-Marquardt: D. W. Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", SIAM Journal 11 (1963), with the
//! damping in proportion to the diagonal.

use nalgebra::{DMatrix, DVector};

/// Steps at most. A calibration that begins near the truth needs 5 to 15.
const STEPS_MAX: usize = 100;

/// A step that makes the sum of squares smaller by less than this share ends the search.
const GAIN_MIN: f64 = 1e-12;

/// Damping at first, as a share of the diagonal.
const DAMPING: f64 = 1e-3;

/// Damping above which no step helps any more.
const DAMPING_MAX: f64 = 1e12;

/// Step of the central differences, for parameters of about 1; larger ones get a larger step.
const DIFFERENCE: f64 = 1e-6;

/// The residuals for all parameters.
pub(super) type Residuals<'a> = Box<dyn Fn(&[f64]) -> Vec<f64> + 'a>;

/// Residuals that depend on a few of the parameters only.
pub(super) struct Block<'a> {
    /// Which of the parameters are to be found and matter here, by index.
    pub(super) parameters: Vec<usize>,
    /// They.
    pub(super) residuals: Residuals<'a>,
}

/// What the search ended at.
#[derive(Debug, Clone)]
pub(super) struct Minimum {
    /// The parameters.
    pub(super) parameters: Vec<f64>,
    /// How well each is determined: its standard deviation, from the residuals that are left and their slopes. 0 for one that no block asks
    /// for, infinite for all where the residuals do not determine them.
    pub(super) deviations: Vec<f64>,
    /// Sum of the squares of all residuals.
    pub(super) squares: f64,
}

/// The parameters at which the sum of squares is least, searched from `start`; `None` where the residuals are no numbers there.
pub(super) fn minimise(start: Vec<f64>, blocks: &[Block<'_>]) -> Option<Minimum> {
    let mut parameters = start;
    let mut squares = sum_of_squares(&parameters, blocks);
    if !squares.is_finite() {
        return None;
    }
    let free = free_parameters(blocks);
    let mut damping = DAMPING;
    for _ in 0..STEPS_MAX {
        let (products, slope) = normal_equations(&parameters, blocks, &free);
        let mut gain = 0.0;
        while damping < DAMPING_MAX {
            let tried = stepped(&parameters, &products, &slope, &free, damping);
            let there = tried.as_ref().map_or(f64::INFINITY, |tried| sum_of_squares(tried, blocks));
            if let Some(tried) = tried.filter(|_| there < squares) {
                gain = (squares - there) / squares;
                (parameters, squares) = (tried, there);
                damping = (damping / 10.0).max(f64::EPSILON);
                break;
            }
            damping *= 10.0;
        }
        if gain < GAIN_MIN {
            break;
        }
    }
    let deviations = deviations(&parameters, blocks, &free, squares);
    Some(Minimum {
        parameters,
        deviations,
        squares,
    })
}

/// The parameters that are to be found, each once.
fn free_parameters(blocks: &[Block<'_>]) -> Vec<usize> {
    let mut free: Vec<usize> = blocks.iter().flat_map(|block| block.parameters.iter().copied()).collect();
    free.sort_unstable();
    free.dedup();
    free
}

fn sum_of_squares(parameters: &[f64], blocks: &[Block<'_>]) -> f64 {
    let squares = |block: &Block<'_>| {
        (block.residuals)(parameters)
            .iter()
            .map(|residual| residual * residual)
            .sum::<f64>()
    };
    blocks.iter().map(squares).sum()
}

/// Products of the slopes, and slopes with residuals, of the free parameters.
fn normal_equations(parameters: &[f64], blocks: &[Block<'_>], free: &[usize]) -> (DMatrix<f64>, DVector<f64>) {
    let mut products = DMatrix::zeros(free.len(), free.len());
    let mut slope = DVector::zeros(free.len());
    let mut moved = parameters.to_vec();
    for block in blocks {
        let residuals = DVector::from_vec((block.residuals)(parameters));
        let places: Vec<usize> = block.parameters.iter().filter_map(|index| free.binary_search(index).ok()).collect();
        let mut slopes = DMatrix::zeros(residuals.len(), places.len());
        for (column, index) in block.parameters.iter().enumerate() {
            let step = DIFFERENCE * parameters[*index].abs().max(1.0);
            moved[*index] = parameters[*index] + step;
            let after = (block.residuals)(&moved);
            moved[*index] = parameters[*index] - step;
            let before = (block.residuals)(&moved);
            moved[*index] = parameters[*index];
            let change = after.iter().zip(&before).map(|(after, before)| (after - before) / (2.0 * step));
            slopes.set_column(column, &DVector::from_iterator(residuals.len(), change));
        }
        let block_products = slopes.tr_mul(&slopes);
        let block_slope = slopes.tr_mul(&residuals);
        for (i, row) in places.iter().enumerate() {
            slope[*row] += block_slope[i];
            for (j, column) in places.iter().enumerate() {
                products[(*row, *column)] += block_products[(i, j)];
            }
        }
    }
    (products, slope)
}

fn stepped(parameters: &[f64], products: &DMatrix<f64>, slope: &DVector<f64>, free: &[usize], damping: f64) -> Option<Vec<f64>> {
    let mut damped = products.clone();
    for index in 0..free.len() {
        damped[(index, index)] *= 1.0 + damping;
    }
    let step = damped.cholesky()?.solve(slope);
    let mut stepped = parameters.to_vec();
    for (index, change) in free.iter().zip(step.iter()) {
        stepped[*index] -= change;
    }
    stepped.iter().all(|parameter| parameter.is_finite()).then_some(stepped)
}

/// The square roots of the diagonal of the covariance.
fn deviations(parameters: &[f64], blocks: &[Block<'_>], free: &[usize], squares: f64) -> Vec<f64> {
    let count: usize = blocks.iter().map(|block| (block.residuals)(parameters).len()).sum();
    let (products, _) = normal_equations(parameters, blocks, free);
    // Scaled to a diagonal of 1, so that pixels, radians and coefficients are inverted as equals.
    let scale: Vec<f64> = products.diagonal().iter().map(|square| square.sqrt()).collect();
    let scaled = DMatrix::from_fn(free.len(), free.len(), |row, column| {
        products[(row, column)] / (scale[row] * scale[column])
    });
    let variance = squares / count.saturating_sub(free.len()).max(1) as f64;
    let inverse = scaled.cholesky().map(|factor| factor.inverse());
    let mut deviations = vec![0.0; parameters.len()];
    for (place, index) in free.iter().enumerate() {
        deviations[*index] = inverse.as_ref().map_or(f64::INFINITY, |inverse| {
            (variance * inverse[(place, place)]).max(0.0).sqrt() / scale[place]
        });
    }
    deviations
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Misra1a of the NIST Statistical Reference Datasets: y = b1 (1 - exp(-b2 x)), certified values and standard deviations.
    const MISRA_1A: [(f64, f64); 14] = [
        (10.07, 77.6),
        (14.73, 114.9),
        (17.94, 141.1),
        (23.93, 190.8),
        (29.61, 239.9),
        (35.18, 289.0),
        (40.02, 332.8),
        (44.82, 378.4),
        (50.76, 434.8),
        (55.05, 477.3),
        (61.01, 536.8),
        (66.40, 593.1),
        (75.47, 689.1),
        (81.78, 760.0),
    ];

    #[test]
    fn meets_the_certified_values_of_nist() {
        let block = Block {
            parameters: vec![0, 1],
            residuals: Box::new(|b| {
                let residual = |(y, x): &(f64, f64)| b[0] * (1.0 - (-b[1] * x).exp()) - y;
                MISRA_1A.iter().map(residual).collect()
            }),
        };
        let found = minimise(vec![250.0, 5e-4], &[block]).unwrap();
        let close = |got: f64, certified: f64| (got / certified - 1.0).abs() < 1e-4;
        assert!(close(found.parameters[0], 2.389_421_291_8e2), "{found:?}");
        assert!(close(found.parameters[1], 5.501_564_318_1e-4), "{found:?}");
        assert!(close(found.deviations[0], 2.707_007_524_1), "{found:?}");
        assert!(close(found.deviations[1], 7.266_868_862_5e-6), "{found:?}");
        assert!(close(found.squares, 1.245_513_889_4e-1), "{found:?}");
    }

    #[test]
    fn what_the_residuals_do_not_determine_is_said() {
        let block = Block {
            parameters: vec![0, 1],
            residuals: Box::new(|p| vec![p[0] + p[1] - 3.0, 2.0 * (p[0] + p[1]) - 6.5]),
        };
        let found = minimise(vec![0.0, 0.0], &[block]).unwrap();
        assert!(found.deviations.iter().all(|deviation| *deviation > 1e3), "{found:?}");
    }
}
