//! Descriptors for masking answers: of the APIs that agents use, only what their RPCs answer with, without comments
//! and options.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use prost_reflect::{
    DescriptorPool, FileDescriptor, Kind, MessageDescriptor, ServiceDescriptor,
    prost::Message as _,
    prost_types::{
        DescriptorProto, EnumDescriptorProto, EnumOptions, FieldOptions, FileDescriptorProto,
        FileDescriptorSet, MessageOptions,
    },
};

/// Packages whose services are included, with all versions below them unless one is named.
const PACKAGES: &[&str] = &[
    "google.bigtable.admin.v2",
    "google.bigtable.v2",
    "google.cloud.aiplatform.v1",
    "google.cloud.asset.v1",
    "google.cloud.bigquery",
    "google.cloud.config.v1",
    "google.cloud.functions",
    "google.cloud.iap.v1",
    "google.cloud.kms",
    "google.cloud.location",
    "google.cloud.oslogin.v1",
    "google.cloud.parametermanager",
    "google.cloud.redis",
    "google.cloud.resourcemanager",
    "google.cloud.run",
    "google.cloud.scheduler",
    "google.cloud.secretmanager",
    "google.cloud.secrets",
    "google.cloud.sql",
    "google.cloud.tasks",
    "google.cloud.workflows",
    "google.api.apikeys",
    "google.api.serviceusage",
    "google.container.v1",
    "google.datastore.v1",
    "google.devtools.artifactregistry.v1",
    "google.devtools.cloudbuild",
    "google.firestore",
    "google.iam",
    "google.logging",
    "google.longrunning",
    "google.monitoring",
    "google.pubsub",
    "google.spanner",
    "google.storage",
    "google.cloud.developerconnect",
    "google.cloud.orchestration.airflow.service.v1",
    "google.appengine.v1",
];

/// Messages that `Any` may hold: what operations end in is an answer too, by these names.
const WELL_KNOWN: &[&str] = &[
    "google.protobuf.Any",
    "google.protobuf.Empty",
    "google.protobuf.Struct",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    "google.protobuf.FieldMask",
    "google.protobuf.StringValue",
    "google.rpc.Status",
    "google.rpc.ErrorInfo",
    "google.rpc.DebugInfo",
    "google.rpc.BadRequest",
    "google.rpc.PreconditionFailure",
    "google.rpc.QuotaFailure",
    "google.rpc.Help",
    "google.rpc.LocalizedMessage",
    "google.rpc.ResourceInfo",
    "google.rpc.RequestInfo",
    "google.rpc.RetryInfo",
];

/// The bytes of a `google.protobuf.FileDescriptorSet`.
pub(super) fn chosen(pool: &DescriptorPool) -> anyhow::Result<Vec<u8>> {
    let mut kept = Kept::default();
    for name in WELL_KNOWN {
        if let Some(message) = pool.get_message_by_name(name) {
            kept.message(&message);
        }
    }
    for service in pool.services().filter(is_chosen) {
        kept.service(pool, &service);
    }
    let mut files = Vec::new();
    for file in pool.files() {
        if let Some(names) = kept.files.get(file.name()) {
            files.push(reduced(&file, names, &kept));
        }
    }
    let set = FileDescriptorSet { file: files };
    let bytes = set.encode_to_vec();
    // What was cut must still fit together.
    let again = DescriptorPool::decode(bytes.as_slice())?;
    ensure!(
        again.services().len() > 50,
        "only {} services are left",
        again.services().len()
    );
    Ok(bytes)
}

fn is_chosen(service: &ServiceDescriptor) -> bool {
    let package = service.package_name();
    PACKAGES.iter().any(|chosen| {
        package
            .strip_prefix(chosen)
            .is_some_and(|behind| behind.is_empty() || behind.starts_with('.'))
    })
}

/// Names of what is kept, by file.
#[derive(Debug, Default)]
struct Kept {
    files: BTreeMap<String, BTreeSet<String>>,
    /// Names of messages whose fields are kept, of enumerations and of services.
    whole: BTreeSet<String>,
}

impl Kept {
    fn service(&mut self, pool: &DescriptorPool, service: &ServiceDescriptor) {
        self.name(&service.parent_file(), service.full_name());
        self.whole.insert(service.full_name().to_owned());
        for method in service.methods() {
            self.message(&method.output());
            // An RPC needs its input's name, but nobody reads inputs by it.
            let input = method.input();
            self.name(&input.parent_file(), input.full_name());
            for answer in operation_types(pool, &method) {
                self.message(&answer);
            }
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        if !self.whole.insert(message.full_name().to_owned()) {
            return;
        }
        self.name(&message.parent_file(), message.full_name());
        for field in message.fields() {
            match field.kind() {
                Kind::Message(inner) => self.message(&inner),
                Kind::Enum(inner) => {
                    self.name(&inner.parent_file(), inner.full_name());
                    self.whole.insert(inner.full_name().to_owned());
                }
                _ => {}
            }
        }
    }

    fn name(&mut self, file: &FileDescriptor, name: &str) {
        self.files
            .entry(file.name().to_owned())
            .or_default()
            .insert(name.to_owned());
    }
}

/// What an operation's `Any`s hold, by `google.longrunning.operation_info`.
fn operation_types(
    pool: &DescriptorPool,
    method: &prost_reflect::MethodDescriptor,
) -> Vec<MessageDescriptor> {
    let Some(extension) = pool.get_extension_by_name("google.longrunning.operation_info") else {
        return Vec::new();
    };
    let options = method.options();
    let info = options.get_extension(&extension);
    let Some(info) = info.as_message() else {
        return Vec::new();
    };
    ["response_type", "metadata_type"]
        .iter()
        .filter_map(|field| Some(info.get_field_by_name(field)?.as_str()?.to_owned()))
        .filter_map(|name| {
            let local = format!("{}.{name}", method.parent_service().package_name());
            pool.get_message_by_name(&name)
                .or_else(|| pool.get_message_by_name(&local))
        })
        .collect()
}

/// A file with only what is kept.
fn reduced(file: &FileDescriptor, names: &BTreeSet<String>, kept: &Kept) -> FileDescriptorProto {
    let mut proto = file.file_descriptor_proto().clone();
    let package = proto.package().to_owned();
    proto.source_code_info = None;
    proto.options = None;
    proto.extension.clear();
    proto
        .message_type
        .retain_mut(|m| reduce_message(m, &package, names, kept));
    proto.enum_type.retain_mut(|e| reduce_enum(e, &package, names));
    proto.service.retain_mut(|s| {
        s.options = None;
        for method in &mut s.method {
            method.options = None;
        }
        names.contains(&format!("{package}.{}", s.name()))
    });
    // Imports are those of the files that are kept too.
    let needed: Vec<String> = std::mem::take(&mut proto.dependency)
        .into_iter()
        .filter(|d| kept.files.contains_key(d))
        .collect();
    proto.dependency = needed;
    proto.public_dependency.clear();
    proto.weak_dependency.clear();
    proto
}

/// Whether an enumeration is kept; takes away what nobody reads.
fn reduce_enum(kept: &mut EnumDescriptorProto, scope: &str, names: &BTreeSet<String>) -> bool {
    let alias = kept.options.as_ref().and_then(|o| o.allow_alias);
    kept.options = alias.map(|alias| EnumOptions {
        allow_alias: Some(alias),
        ..EnumOptions::default()
    });
    for value in &mut kept.value {
        value.options = None;
    }
    kept.reserved_name.clear();
    kept.reserved_range.clear();
    names.contains(&format!("{scope}.{}", kept.name()))
}

/// Whether a message, or one inside of it, is kept; takes away the rest.
fn reduce_message(message: &mut DescriptorProto, scope: &str, names: &BTreeSet<String>, kept: &Kept) -> bool {
    let name = format!("{scope}.{}", message.name());
    message
        .nested_type
        .retain_mut(|m| reduce_message(m, &name, names, kept));
    message.enum_type.retain_mut(|e| reduce_enum(e, &name, names));
    let map_entry = message.options.as_ref().and_then(|o| o.map_entry);
    message.options = map_entry.map(|map_entry| MessageOptions {
        map_entry: Some(map_entry),
        ..MessageOptions::default()
    });
    message.extension.clear();
    message.extension_range.clear();
    message.reserved_name.clear();
    message.reserved_range.clear();
    if kept.whole.contains(&name) {
        for field in &mut message.field {
            let packed = field.options.as_ref().and_then(|o| o.packed);
            field.options = packed.map(|packed| FieldOptions {
                packed: Some(packed),
                ..FieldOptions::default()
            });
        }
        for oneof in &mut message.oneof_decl {
            oneof.options = None;
        }
    } else {
        message.field.clear();
        message.oneof_decl.clear();
    }
    names.contains(&name) || !message.nested_type.is_empty() || !message.enum_type.is_empty()
}
