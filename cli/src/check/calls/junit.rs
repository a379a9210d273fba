//! What `check` found, as JUnit XML, which CI systems show: a suite for the policies and one for each list of each
//! table of calls.

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::{
    super::{Finding, Report, located},
    list,
};

/// The report.
///
/// # Errors
/// It cannot be written as XML.
pub(in crate::check) fn report(report: &Report) -> Result<String> {
    let mut junit = Junit::new("turnpike check");
    junit.add_test_suite(policies(report));
    let mut suites: Vec<(String, TestSuite)> = Vec::new();
    for row in report.calls.iter().flat_map(|calls| &calls.rows) {
        let name = format!("{} {}", row.file, list(row.must));
        let status = match &row.failure {
            None => TestCaseStatus::success(),
            Some(failure) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status
                    .set_message(failure.clone())
                    .set_description(format!("{}:{}:{}: {failure}", row.file, row.line, row.column));
                status
            }
        };
        let mut case = TestCase::new(row.name.clone(), status);
        case.set_classname(name.clone());
        case.extra.insert("file".into(), row.file.clone().into());
        case.extra.insert("line".into(), row.line.to_string().into());
        match suites.iter_mut().find(|(of, _)| *of == name) {
            Some((_, suite)) => {
                suite.add_test_case(case);
            }
            None => {
                let mut suite = TestSuite::new(name.clone());
                suite.add_test_case(case);
                suites.push((name, suite));
            }
        }
    }
    junit.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    junit.to_string().context("the report cannot be written as XML")
}

fn policies(report: &Report) -> TestSuite {
    let mut suite = TestSuite::new("policies");
    for Finding { file, problem } in &report.problems {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(located(file, problem));
        suite.add_test_case(TestCase::new(file.clone(), status));
    }
    if report.problems.is_empty() {
        suite.add_test_case(TestCase::new(
            super::super::summary(report),
            TestCaseStatus::success(),
        ));
    }
    suite
}
