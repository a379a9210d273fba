//! The command line. It is parsed here once; what needs a file or a cluster to be judged is judged by the
//! command itself.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

/// See and decide the calls of AI agents that wait for a person, and check and explain policies.
///
/// Without --config it works on the cluster of your kubeconfig, as kubectl does; with --config DIR on the
/// folder of a standalone proxy.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-turnpike",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done; 1 it failed, or `check` found problems; 2 the command line is wrong, or \
                  `check` cannot read a file."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where approval requests are, and as whom to act.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where")]
pub(crate) struct Target {
    /// Folder of a standalone proxy (the one with turnpike.yaml), instead of a cluster.
    #[arg(long, global = true, value_name = "DIR", conflicts_with_all = ["context", "kubeconfig"])]
    pub(crate) config: Option<PathBuf>,
    /// Namespace of the approval requests. Default: that of the kubeconfig's context; with --config all.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig. Default: its current one.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The kubeconfig. Default: $KUBECONFIG, then ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// User to act as. In a cluster by impersonation, as with kubectl; with --config the name that your
    /// review is written under. Default: who you are to the API server; with --config $USER, or your
    /// login name. Of `explain`, the agent: NAMESPACE/NAME of its ServiceAccount.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub(crate) as_user: Option<String>,
    /// Group to act as, with --as; can be given more than once. With --config the groups that your review counts for.
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub(crate) as_group: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the calls that wait for a person, the most urgent first.
    Pending(PendingArgs),
    /// Show a call that waits as a change request reads: who, what, where, how risky, what it takes, what to run.
    Describe(DescribeArgs),
    /// Let a call through, once: that very call, with that very body.
    Approve(ReviewArgs),
    /// Refuse a call; the agent is told the reason.
    Deny(ReviewArgs),
    /// Compile policies without a cluster, say what is wrong with them, with line and column, and try calls on them.
    #[command(
        after_help = "Exit codes: 0 all is fine (warnings do not count); 1 there are problems, or a call is decided \
                      otherwise than it must be; 2 the command line is wrong, or a file cannot be read.\n\n\
                      A problem is written as FILE:LINE:COLUMN: FIELD: what is wrong.\n\n\
                      A table of calls (--calls) has lists must_allow, must_deny and must_hold. A row has a call, \
                      `call: VERB URL` or `grpc: package.Service/Method` with `message: {FIELD_NUMBER: value}`; \
                      `as: NAMESPACE/NAME` or the claims of a token, `as: {iss, sub, aud, claims}`; and what is needed \
                      of `body` or `body_file` (of an upload the metadata), `headers`, `at`, `secrets: [KIND]`, \
                      `unscannable`, `pace: {first_use, last_minute, last_hour}`. `rule`, `reason` and `method` say \
                      more of what must come out. `defaults` has as, at and headers for all rows."
    )]
    Check(CheckArgs),
    /// Say what Turnpike takes a request for: method, resource, traits; or why it is refused. With --as, what
    /// policies make of it.
    #[command(after_help = "Examples:\n  \
            kubectl turnpike explain GET https://storage.googleapis.com/storage/v1/b/my-bucket/o\n  \
            kubectl turnpike explain --as agents/coder --policies policies/ DELETE \
            https://storage.googleapis.com/storage/v1/b/my-bucket\n  \
            kubectl turnpike explain group:storage.read\n  \
            kubectl turnpike explain - < requests.txt > answers.jsonl\n\n\
            With --as it says what is decided and by which rules, which rules nearly match and what they lack, and \
            what change would let the request pass; each change was tried. Without it, it says what a request is, not \
            whether a policy allows it. It exits with 0 also for a request that \
            it cannot place: that is an answer. In JSON such a request has \"method\":null and a \"reason\".")]
    Explain(ExplainArgs),
    /// Say what a change of policies changes: which calls become allowed, held or denied.
    #[command(after_help = "Examples:\n  \
            kubectl turnpike diff policies.old/ policies/\n  \
            git show main:policy.yaml | kubectl turnpike diff --exit-code - policy.yaml\n\n\
            Every method and every name that a glob of either side tells apart is decided twice. What conditions \
            come to is not known, so it says when a call is decided otherwise. A condition that cannot be evaluated \
            counts as true for rules that deny or hold, and as false for rules that allow.\n\n\
            Exit codes: 0 it was told; 1 with --exit-code, something is different; 2 a file cannot be read, or is no \
            policy.")]
    Diff(DiffArgs),
    /// Say what a policy would have changed in the calls of an audit log, were it enforced.
    #[command(after_help = "Examples:\n  \
            kubectl turnpike impact new-policy.yaml --audit topic.jsonl --since 24h\n  \
            kubectl turnpike --config /etc/turnpike impact agents/coder\n\n\
            What the other policies decided is on record; the policy is put beside that, in the place of what it was \
            then. Where it was in force as DryRun, the record itself says what it would have done. An audit log keeps \
            no bodies, headers and queries: where a condition reads them, it says what would follow if the condition \
            held.\n\n\
            Exit codes: 0 it was told; 2 something cannot be read, or is no policy.")]
    Impact(ImpactArgs),
    /// Write the least policy for the calls of an audit log, with comments that count the calls behind each rule.
    #[command(after_help = "Example:\n  \
            kubectl turnpike suggest --audit topic.jsonl --since 7d --agent agents/coder > coder.yaml\n\n\
            Exit codes: 0 it is written; 2 the audit log cannot be read, or has no calls of the agent.")]
    Suggest(SuggestArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PendingArgs {
    /// Of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// How to print them; json and yaml print the whole resources.
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table, value_name = "FORMAT")]
    pub(crate) output: ListFormat,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Name of the approval request, as `pending` and the agent's error show it.
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// Name of the approval request, as `pending` and the agent's error show it.
    pub(crate) name: String,
    /// Why, in your own words: for the agent and the audit log.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: Option<String>,
    /// Wait until the review is settled, and say what came of it.
    #[arg(
        long,
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        value_name = "BOOL"
    )]
    pub(crate) wait: bool,
    /// How long to wait at most.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Files with AgentPolicies, several documents a file allowed; `-` is standard input, and of a folder
    /// all *.yaml and *.yml in it. Default: with --config DIR, DIR/policies.
    #[arg(value_name = "FILE", required_unless_present = "config")]
    pub(crate) files: Vec<PathBuf>,
    /// Turnpike's own namespace: policies there may select agents of every namespace.
    #[arg(long, default_value = "turnpike-system", value_name = "NAME")]
    pub(crate) gateway_namespace: String,
    /// Labels of namespaces, for policies that select by them: what `kubectl get namespaces -o yaml` prints, or a
    /// file with `namespaces:` as in turnpike.yaml.
    #[arg(long, value_name = "FILE")]
    pub(crate) namespaces: Option<PathBuf>,
    /// Table of calls that must be allowed, denied or held under these policies; can be given more than once.
    #[arg(long, value_name = "FILE")]
    pub(crate) calls: Vec<PathBuf>,
    /// How to print what was found.
    #[arg(short, long, value_enum, default_value_t = CheckFormat::Text, value_name = "FORMAT")]
    pub(crate) output: CheckFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// HTTP verb, such as GET; with --as also GRPC. Or `-` to read lines of `VERB URL` from standard input and write
    /// one JSON object a line. Or `group:NAME`, to list the methods of a group.
    #[arg(value_name = "VERB")]
    pub(crate) verb: String,
    /// The whole URL, with https://; for GRPC https://HOST/package.Service/Method.
    #[arg(value_name = "URL")]
    pub(crate) url: Option<String>,
    /// With --as: file or folder of policies; can be given more than once. Default: with --config DIR, DIR/policies.
    #[arg(long, value_name = "FILE")]
    pub(crate) policies: Vec<PathBuf>,
    /// In the place of --as: the claims of an agent's OIDC token, as JSON with iss, sub and maybe aud, and others in
    /// claims.
    #[arg(long, value_name = "JSON")]
    pub(crate) claims: Option<String>,
    /// With --as: file with the request's body, `-` for standard input; of an upload its metadata, of GRPC the JSON
    /// form of the message.
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,
    /// With --as: a header of the request; can be given more than once.
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// With --as: the fields of the GRPC message that name what it acts on, by number.
    #[arg(long, value_name = "JSON")]
    pub(crate) message: Option<String>,
    /// With --as: when the call is made. Default: now.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// Turnpike's own namespace: policies there may select agents of every namespace.
    #[arg(long, default_value = "turnpike-system", value_name = "NAME")]
    pub(crate) gateway_namespace: String,
    /// Labels of namespaces, as with `check`.
    #[arg(long, value_name = "FILE")]
    pub(crate) namespaces: Option<PathBuf>,
    /// How to print the answer; json is one line.
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The policies of now: a file, a folder with *.yaml and *.yml, or `-` for standard input.
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// The policies to come, in the same forms.
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    /// Exit with 1 if anything is different.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Turnpike's own namespace: policies there may select agents of every namespace.
    #[arg(long, default_value = "turnpike-system", value_name = "NAME")]
    pub(crate) gateway_namespace: String,
    /// How to print what is different.
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ImpactArgs {
    /// The policy: a file or a folder, `-` for standard input; or the name of one of the cluster, or of the folder
    /// given by --config, with its namespace in front or in --namespace.
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    /// Turnpike's own namespace: policies there may select agents of every namespace.
    #[arg(long, default_value = "turnpike-system", value_name = "NAME")]
    pub(crate) gateway_namespace: String,
    /// How to print what is found.
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct SuggestArgs {
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    /// Only for this agent, as the audit log names it: NAMESPACE/NAME, or the subject of its token.
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Vec<String>,
}

/// An audit log, and how much of it.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Audit log: a file of JSON lines, a folder with *.jsonl or that of a standalone proxy, or `-` for standard input.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) audit: Vec<PathBuf>,
    /// Only what happened since then: a span such as 24h, a day such as 2026-07-01, or a time with its zone.
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    Text,
    Json,
    /// For CI systems: a test case for each call of a table.
    Junit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Table,
    Json,
    Yaml,
}

/// The bound of `status.reviews[].reason` in the API.
const MAX_REASON: usize = 1024;

fn reason(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        return Err("say why, or leave --reason away".to_owned());
    }
    if length > MAX_REASON {
        return Err(format!(
            "it has {length} characters; a reason has {MAX_REASON} at most"
        ));
    }
    Ok(text.to_owned())
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(span) = turnpike_compiler::parse_duration(text) {
        let then = SignedDuration::try_from(span).map(|span| Timestamp::now().saturating_sub(span));
        return match then {
            Ok(Ok(then)) => Ok(then),
            _ => Err("that is too long ago".to_owned()),
        };
    }
    if let Ok(day) = text.parse::<Date>()
        && let Ok(midnight) = day.to_zoned(TimeZone::UTC)
    {
        return Ok(midnight.timestamp());
    }
    text.parse().map_err(|_| {
        "write a span such as 24h, a day such as 2026-07-01, or a time such as 2026-07-01T10:00:00Z"
            .to_owned()
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    turnpike_compiler::parse_duration(text).map_err(|e| e.to_string())
}
