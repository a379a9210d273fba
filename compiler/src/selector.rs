//! Selectors of namespaces, as the API server understands label selectors.

use std::collections::BTreeMap;

use turnpike_crds::{LabelOperator, LabelRequirement, NamespaceSelector};

/// What is wrong with a selector.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectorError {
    #[error("{operator:?} of label {key:?} needs values")]
    NoValues { operator: LabelOperator, key: String },
    #[error("{operator:?} of label {key:?} takes no values")]
    Values { operator: LabelOperator, key: String },
}

/// # Errors
/// [`SelectorError`]: a requirement that says nothing.
pub(crate) fn check(selector: &NamespaceSelector) -> Result<(), SelectorError> {
    selector.match_expressions.iter().try_for_each(|requirement| {
        let (operator, key) = (requirement.operator, requirement.key.clone());
        match (operator, requirement.values.is_empty()) {
            (LabelOperator::In | LabelOperator::NotIn, true) => {
                Err(SelectorError::NoValues { operator, key })
            }
            (LabelOperator::Exists | LabelOperator::DoesNotExist, false) => {
                Err(SelectorError::Values { operator, key })
            }
            _ => Ok(()),
        }
    })
}

/// Whether a namespace with these labels is selected.
pub(crate) fn matches(selector: &NamespaceSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = |(key, value)| labels.get(key) == Some(value);
    selector.match_labels.iter().all(equal) && selector.match_expressions.iter().all(|r| holds(r, labels))
}

fn holds(requirement: &LabelRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let listed = value.is_some_and(|v| requirement.values.contains(v));
    match requirement.operator {
        LabelOperator::In => listed,
        LabelOperator::NotIn => !listed,
        LabelOperator::Exists => value.is_some(),
        LabelOperator::DoesNotExist => value.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_select_as_the_api_server_does() {
        use LabelOperator::{DoesNotExist, Exists, In, NotIn};
        let labels = |text: &str| -> BTreeMap<String, String> {
            text.split_whitespace()
                .map(|pair| pair.split_once('=').expect("key=value"))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect()
        };
        let namespaces = ["env=prod team=a", "env=dev team=a", "team=b"].map(labels);
        let env = |operator, values: &[&str]| {
            vec![LabelRequirement {
                key: "env".to_owned(),
                operator,
                values: values.iter().map(|v| (*v).to_owned()).collect(),
            }]
        };
        let no_values = |operator| {
            Err(SelectorError::NoValues {
                operator,
                key: "env".into(),
            })
        };
        let values = |operator| {
            Err(SelectorError::Values {
                operator,
                key: "env".into(),
            })
        };
        let rows = [
            ("", vec![], Ok([true, true, true])),
            ("env=prod", vec![], Ok([true, false, false])),
            ("team=a", env(In, &["dev", "test"]), Ok([false, true, false])),
            ("", env(NotIn, &["prod"]), Ok([false, true, true])),
            ("", env(Exists, &[]), Ok([true, true, false])),
            ("", env(DoesNotExist, &[]), Ok([false, false, true])),
            ("", env(In, &[]), no_values(In)),
            ("", env(NotIn, &[]), no_values(NotIn)),
            ("", env(Exists, &["prod"]), values(Exists)),
            ("", env(DoesNotExist, &["prod"]), values(DoesNotExist)),
        ];
        for (match_labels, match_expressions, expected) in rows {
            let selector = NamespaceSelector {
                match_labels: labels(match_labels),
                match_expressions,
            };
            let found = check(&selector).map(|()| namespaces.each_ref().map(|n| matches(&selector, n)));
            assert_eq!(found, expected, "{selector:?}");
        }
    }
}
