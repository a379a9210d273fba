//! `diff`: what it takes for the same.

mod common;

use anyhow::Result;
use common::run;

fn policy(when: &str, factor: &str) -> String {
    format!(
        "\
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: coder, namespace: agents}}
spec:
  agents: [{{serviceAccount: {{name: coder}}}}]
  rules:
    - {{name: read, effect: Allow, methods: [storage.objects.get], when: '{when}'}}
  risk: {{denyAbove: 90, factors: [{{name: far, when: '{factor}', points: 1}}]}}
"
    )
}

#[test]
fn blanks_of_conditions_are_no_difference_and_words_are() -> Result<()> {
    let old = ("request.query.a == \"x y\"", "request.size > 60");
    let rows = [
        (old, true),
        (("request.query.a==\"x y\" ", "request.size  >60"), true),
        (("request.query.a == \"x  y\"", "request.size > 60"), false),
        (("request.query.a == \"x y\"", "request.size > 61"), false),
    ];
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("old.yaml"), policy(old.0, old.1))?;
    let same = run(&["diff", &path("old.yaml"), &path("old.yaml")])?;
    for (new, wanted) in rows {
        std::fs::write(path("new.yaml"), policy(new.0, new.1))?;
        let output = run(&["diff", &path("old.yaml"), &path("new.yaml")])?;
        assert_eq!(output == same, wanted, "{new:?}: {}", output.stdout);
    }
    Ok(())
}
