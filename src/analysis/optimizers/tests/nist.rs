//! Statistical reference datasets for nonlinear regression of the National Institute of Standards and Technology
//! (itl.nist.gov/div898/strd/nls): data, both starts, certified parameters and standard deviations.

use super::dual::Dual;
use super::problem::Problem;
use crate::analysis::optimizers::lbfgsb::{self, LbfgsbSettings};
use crate::analysis::optimizers::levenberg_marquardt::{self, LevenbergMarquardtSettings};
use crate::analysis::optimizers::{Bounds, Loss, examine};

struct Dataset {
    name: &'static str,
    model: fn(&[Dual], f64) -> Dual,
    starts: [&'static [f64]; 2],
    certified: &'static [f64],
    deviations: &'static [f64],
    x: &'static [f64],
    y: &'static [f64],
}

const DATASETS: [Dataset; 9] = [
    Dataset {
        name: "Misra1a",
        model: |b, x| b[0] * (1.0 - (-b[1] * x).exp()),
        starts: [&[500.0, 0.0001], &[250.0, 0.0005]],
        certified: &[238.94212918, 0.00055015643181],
        deviations: &[2.7070075241, 7.2668688436e-06],
        x: &[77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0],
        y: &[10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.4, 75.47, 81.78],
    },
    Dataset {
        name: "BoxBOD",
        model: |b, x| b[0] * (1.0 - (-b[1] * x).exp()),
        starts: [&[1.0, 1.0], &[100.0, 0.75]],
        certified: &[213.80940889, 0.54723748542],
        deviations: &[12.354515176, 0.10455993237],
        x: &[1.0, 2.0, 3.0, 5.0, 7.0, 10.0],
        y: &[109.0, 149.0, 149.0, 191.0, 213.0, 224.0],
    },
    Dataset {
        name: "DanWood",
        model: |b, x| b[0] * Dual::from(x).pow(b[1]),
        starts: [&[1.0, 5.0], &[0.7, 4.0]],
        certified: &[0.76886226176, 3.8604055871],
        deviations: &[0.01828197386, 0.051726610913],
        x: &[1.309, 1.471, 1.49, 1.565, 1.611, 1.68],
        y: &[2.138, 3.421, 3.597, 4.34, 4.882, 5.66],
    },
    Dataset {
        name: "Eckerle4",
        model: |b, x| b[0] / b[1] * (-((x - b[2]) / b[1]).square() / 2.0).exp(),
        starts: [&[1.0, 10.0, 500.0], &[1.5, 5.0, 450.0]],
        certified: &[1.5543827178, 4.0888321754, 451.54121844],
        deviations: &[0.015408051163, 0.046803020753, 0.046800518816],
        x: &[
            400.0, 405.0, 410.0, 415.0, 420.0, 425.0, 430.0, 435.0, 436.5, 438.0, 439.5, 441.0, 442.5, 444.0,
            445.5, 447.0, 448.5, 450.0, 451.5, 453.0, 454.5, 456.0, 457.5, 459.0, 460.5, 462.0, 463.5, 465.0,
            470.0, 475.0, 480.0, 485.0, 490.0, 495.0, 500.0,
        ],
        y: &[
            0.0001575, 0.0001699, 0.000235, 0.0003102, 0.0004917, 0.000871, 0.0017418, 0.00464, 0.0065895,
            0.0097302, 0.0149002, 0.023731, 0.0401683, 0.0712559, 0.1264458, 0.2073413, 0.2902366, 0.3445623,
            0.3698049, 0.3668534, 0.3106727, 0.2078154, 0.1164354, 0.0616764, 0.03372, 0.0194023, 0.0117831,
            0.0074357, 0.0022732, 0.00088, 0.0004579, 0.0002345, 0.0001586, 0.0001143, 7.1e-05,
        ],
    },
    Dataset {
        name: "MGH09",
        model: |b, x| b[0] * (x * x + x * b[1]) / (x * x + x * b[2] + b[3]),
        starts: [&[25.0, 39.0, 41.5, 39.0], &[0.25, 0.39, 0.415, 0.39]],
        certified: &[0.19280693458, 0.19128232873, 0.12305650693, 0.13606233068],
        deviations: &[0.011435312227, 0.19633220911, 0.080842031232, 0.090025542308],
        x: &[4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625],
        y: &[0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246],
    },
    Dataset {
        name: "MGH10",
        model: |b, x| b[0] * (b[1] / (x + b[2])).exp(),
        starts: [&[2.0, 400000.0, 25000.0], &[0.02, 4000.0, 250.0]],
        certified: &[0.005609636471, 6181.3463463, 345.22363462],
        deviations: &[0.00015687892471, 23.309021107, 0.78486103508],
        x: &[
            50.0, 55.0, 60.0, 65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 100.0, 105.0, 110.0, 115.0, 120.0,
            125.0,
        ],
        y: &[
            34780.0, 28610.0, 23650.0, 19630.0, 16370.0, 13720.0, 11540.0, 9744.0, 8261.0, 7030.0, 6005.0,
            5147.0, 4427.0, 3820.0, 3307.0, 2872.0,
        ],
    },
    Dataset {
        name: "Rat42",
        model: |b, x| b[0] / (1.0 + (b[1] - b[2] * x).exp()),
        starts: [&[100.0, 1.0, 0.1], &[75.0, 2.5, 0.07]],
        certified: &[72.462237576, 2.6180768402, 0.067359200066],
        deviations: &[1.7340283401, 0.088295217536, 0.0034465663377],
        x: &[9.0, 14.0, 21.0, 28.0, 42.0, 57.0, 63.0, 70.0, 79.0],
        y: &[8.93, 10.8, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08],
    },
    Dataset {
        name: "Rat43",
        model: |b, x| b[0] / (1.0 + (b[1] - b[2] * x).exp()).pow(1.0 / b[3]),
        starts: [&[100.0, 10.0, 1.0, 1.0], &[700.0, 5.0, 0.75, 1.3]],
        certified: &[699.6415127, 5.2771253025, 0.75962938329, 1.2792483859],
        deviations: &[16.302297817, 2.0828735829, 0.19566123451, 0.68761936385],
        x: &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0],
        y: &[
            16.08, 33.83, 65.8, 97.2, 191.55, 326.2, 386.87, 520.53, 590.03, 651.92, 724.93, 699.56, 689.96,
            637.56, 717.41,
        ],
    },
    Dataset {
        name: "Thurber",
        model: |b, x| {
            let above = b[0] + b[1] * x + b[2] * x.powi(2) + b[3] * x.powi(3);
            above / (1.0 + b[4] * x + b[5] * x.powi(2) + b[6] * x.powi(3))
        },
        starts: [
            &[1000.0, 1000.0, 400.0, 40.0, 0.7, 0.3, 0.03],
            &[1300.0, 1500.0, 500.0, 75.0, 1.0, 0.4, 0.05],
        ],
        certified: &[
            1288.13968,
            1491.0792535,
            583.23836877,
            75.416644291,
            0.96629502864,
            0.39797285797,
            0.049727297349,
        ],
        deviations: &[
            4.6647963344,
            39.571156086,
            28.698696102,
            5.567537027,
            0.031333340687,
            0.014984928198,
            0.0065842344623,
        ],
        x: &[
            -3.067, -2.981, -2.921, -2.912, -2.84, -2.797, -2.702, -2.699, -2.633, -2.481, -2.363, -2.322,
            -1.501, -1.46, -1.274, -1.212, -1.1, -1.046, -0.915, -0.714, -0.566, -0.545, -0.4, -0.309,
            -0.109, -0.103, 0.01, 0.119, 0.377, 0.79, 0.963, 1.006, 1.115, 1.572, 1.841, 2.047, 2.2,
        ],
        y: &[
            80.574, 84.248, 87.264, 87.195, 89.076, 89.608, 89.868, 90.101, 92.405, 95.854, 100.696, 101.06,
            401.672, 390.724, 567.534, 635.316, 733.054, 759.087, 894.206, 990.785, 1090.109, 1080.914,
            1122.643, 1178.351, 1260.531, 1273.514, 1288.339, 1327.543, 1353.863, 1414.509, 1425.208,
            1421.384, 1442.962, 1464.35, 1468.705, 1447.894, 1457.628,
        ],
    },
];

/// Digits that agree with the certified value in the worst parameter (log relative error), at most 11.
fn digits(found: &[f64], certified: &[f64]) -> f64 {
    let of = |(found, certified): (&f64, &f64)| -((found / certified - 1.0).abs()).log10();
    found.iter().zip(certified).map(of).fold(11.0, f64::min)
}

#[test]
fn levenberg_marquardt_reaches_the_certified_values_from_both_starts() {
    let settings = LevenbergMarquardtSettings {
        cost_tolerance: 1e-15,
        step_tolerance: 1e-15,
        gradient_tolerance: 1e-15,
        ..Default::default()
    };
    for Dataset { name, model, starts, certified, deviations, x, y } in &DATASETS {
        for start in starts {
            let n = start.len();
            let problem = Problem::new(n, y.len(), |b, i| model(b, x[i]) - y[i]);
            let bounds = Bounds::none(n);
            let report =
                levenberg_marquardt::minimize(&problem, Loss::LINEAR, start, &bounds, &settings).unwrap();
            let found = digits(&report.parameters, certified);
            assert!(found >= 6.0, "{name} from {start:?}: {found} digits, {report:?}");
            let examination = examine(&problem, Loss::LINEAR, &report.parameters, &bounds);
            let covariance = examination.covariance.unwrap();
            let errors: Vec<_> = (0..n).map(|i| covariance[i * n + i].sqrt()).collect();
            assert!(digits(&errors, deviations) >= 5.0, "{name}: {errors:?}, not {deviations:?}");
        }
    }
}

#[test]
fn lbfgsb_reaches_the_certified_values_in_units_of_the_nearer_start() {
    let settings = LbfgsbSettings {
        cost_tolerance: 0.0,
        gradient_tolerance: 1e-14,
        n_passes_max: 20_000,
        ..Default::default()
    };
    for Dataset { name, model, starts, certified, x, y, .. } in &DATASETS {
        let start = starts[1];
        let n = start.len();
        let mut problem = Problem::new(n, y.len(), |b, i| model(b, x[i]) - y[i]);
        problem.units = start.to_vec();
        let ones = vec![1.0; n];
        let report = lbfgsb::minimize(&problem, Loss::LINEAR, &ones, &Bounds::none(n), &settings).unwrap();
        let parameters: Vec<_> = report.parameters.iter().zip(start).map(|(p, unit)| p * unit).collect();
        let found = digits(&parameters, certified);
        assert!(found >= 5.0, "{name}: {found} digits, {report:?}");
    }
}
