//! Python: `google-cloud-storage`, `google-cloud-secret-manager` and `google-cloud-pubsub`.

use super::{Client, Says, Step, installed, script, secret_steps, storage_steps};

/// Over REST. `requests` reads the proxy in either case.
pub(super) const REST: Client = Client {
    name: "python-rest",
    steps: |name| storage_steps(name, true),
    environment: |site| {
        let mut variables = vec![
            ("HTTPS_PROXY", site.proxy.clone()),
            ("REQUESTS_CA_BUNDLE", site.ca()),
        ];
        variables.extend(site.default_credential());
        Ok(variables)
    },
    program: |site, step| Ok(script(site, step, &installed::python()?, "python/rest.py")),
};

/// Over gRPC, which reads the proxy in lower case alone.
pub(super) const GRPC: Client = Client {
    name: "python-grpc",
    steps: |name| {
        let mut steps = secret_steps(name);
        let subscription = Says::exactly("projects/acme-dev/subscriptions/clients\n");
        steps.extend([
            Step::allowed("publish", Says::exactly("published\n")).bringing(format!("published by {name}")),
            Step::allowed("pull", subscription),
        ]);
        steps
    },
    environment: |site| {
        let mut variables = vec![
            ("https_proxy", site.proxy.clone()),
            ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", site.ca()),
        ];
        variables.extend(site.default_credential());
        Ok(variables)
    },
    program: |site, step| Ok(script(site, step, &installed::python()?, "python/rpc.py")),
};
