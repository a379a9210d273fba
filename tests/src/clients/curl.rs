//! curl, as any shell script has it.

use std::path::Path;

use super::{Client, Says, Site, Step, script, storage_steps};

/// Cloud Storage and Secret Manager.
pub(super) const CURL: Client = Client {
    name: "curl",
    steps,
    environment: |site| {
        Ok(vec![
            ("HTTPS_PROXY", site.proxy.clone()),
            ("CURL_CA_BUNDLE", site.ca()),
            // For the script: curl knows no credentials of Google.
            ("TOKEN_FILE", site.file("token")),
        ])
    },
    program: |site: &Site, step: &Step| Ok(script(site, step, Path::new("/bin/sh"), "curl/storage.sh")),
};

/// curl shows the answers as they come.
fn steps(name: &'static str) -> Vec<Step> {
    let mut steps = storage_steps(name, true);
    for step in &mut steps {
        let shown = match step.name {
            // "[MASKED:secret]" in base64.
            "masked" => "\"data\":\"W01BU0tFRDpzZWNyZXRd\"".to_owned(),
            "write" | "held" => format!("\"name\":\"clients/{name}.txt\""),
            _ => continue,
        };
        step.says = Says::Among(vec![shown]);
        // The shell's substitution takes the line's end.
        step.brings = step.brings.take().map(|text| text.trim_end().to_owned());
    }
    steps
}
