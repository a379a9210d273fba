//! What protos do not say: which REST methods the RPCs without a rule stand for, and where services without a
//! `google.api.default_host` are served.
//!
//! Bindings are in the notation of `policy/src/grpc/mod.rs`, with the names of fields in the place of their numbers.

/// Services without `google.api.default_host`, and theirs by their documentation.
pub(super) const HOSTS: &[(&str, &str)] = &[
    ("google.cloud.language.v1beta1.LanguageService", "language"),
    ("google.cloud.oslogin.v1alpha.OsLoginService", "oslogin"),
    (
        "google.cloud.runtimeconfig.v1beta1.RuntimeConfigManager",
        "runtimeconfig",
    ),
    ("google.container.v1alpha1.ClusterManager", "container"),
    ("google.datastore.admin.v1beta1.DatastoreAdmin", "datastore"),
    ("google.datastore.v1beta3.Datastore", "datastore"),
    ("google.devtools.sourcerepo.v1.SourceRepo", "sourcerepo"),
];

/// RPCs that do what another one of their service does, only as a stream: service, RPC, the other. A version of
/// the service that has not both is passed over.
pub(super) const LIKE: &[(&str, &str, &str)] = &[
    // A stream of what Pull returns; acknowledgements name the same subscription.
    ("google.pubsub.v1.Subscriber", "StreamingPull", "Pull"),
    ("google.cloud.speech.v1.Speech", "StreamingRecognize", "Recognize"),
    (
        "google.cloud.speech.v1p1beta1.Speech",
        "StreamingRecognize",
        "Recognize",
    ),
    ("google.cloud.speech.v2.Speech", "StreamingRecognize", "Recognize"),
    (
        "google.cloud.texttospeech.v1.TextToSpeech",
        "StreamingSynthesize",
        "SynthesizeSpeech",
    ),
    (
        "google.cloud.texttospeech.v1beta1.TextToSpeech",
        "StreamingSynthesize",
        "SynthesizeSpeech",
    ),
    (
        "google.cloud.dialogflow.v2.Sessions",
        "StreamingDetectIntent",
        "DetectIntent",
    ),
    (
        "google.cloud.dialogflow.v2beta1.Sessions",
        "StreamingDetectIntent",
        "DetectIntent",
    ),
    (
        "google.cloud.dialogflow.cx.v3.Sessions",
        "StreamingDetectIntent",
        "DetectIntent",
    ),
    (
        "google.cloud.dialogflow.cx.v3beta1.Sessions",
        "StreamingDetectIntent",
        "DetectIntent",
    ),
    (
        "google.cloud.dialogflow.v2.Participants",
        "StreamingAnalyzeContent",
        "AnalyzeContent",
    ),
    (
        "google.cloud.dialogflow.v2beta1.Participants",
        "StreamingAnalyzeContent",
        "AnalyzeContent",
    ),
    (
        "google.cloud.aiplatform.v1.PredictionService",
        "StreamDirectPredict",
        "DirectPredict",
    ),
    (
        "google.cloud.aiplatform.v1.PredictionService",
        "StreamDirectRawPredict",
        "DirectRawPredict",
    ),
    (
        "google.cloud.aiplatform.v1.PredictionService",
        "StreamingPredict",
        "ServerStreamingPredict",
    ),
    (
        "google.cloud.aiplatform.v1.PredictionService",
        "StreamingRawPredict",
        "RawPredict",
    ),
    (
        "google.cloud.aiplatform.v1beta1.PredictionService",
        "StreamDirectPredict",
        "DirectPredict",
    ),
    (
        "google.cloud.aiplatform.v1beta1.PredictionService",
        "StreamDirectRawPredict",
        "DirectRawPredict",
    ),
    (
        "google.cloud.aiplatform.v1beta1.PredictionService",
        "StreamingPredict",
        "ServerStreamingPredict",
    ),
    (
        "google.cloud.aiplatform.v1beta1.PredictionService",
        "StreamingRawPredict",
        "RawPredict",
    ),
    (
        "google.cloud.modelarmor.v1.ModelArmor",
        "StreamSanitizeUserPrompt",
        "SanitizeUserPrompt",
    ),
    (
        "google.cloud.modelarmor.v1.ModelArmor",
        "StreamSanitizeModelResponse",
        "SanitizeModelResponse",
    ),
    (
        "google.cloud.modelarmor.v1beta.ModelArmor",
        "StreamSanitizeUserPrompt",
        "SanitizeUserPrompt",
    ),
    (
        "google.cloud.modelarmor.v1beta.ModelArmor",
        "StreamSanitizeModelResponse",
        "SanitizeModelResponse",
    ),
    (
        "google.cloud.ces.v1.SessionService",
        "BidiRunSession",
        "RunSession",
    ),
    (
        "google.cloud.ces.v1beta.SessionService",
        "BidiRunSession",
        "RunSession",
    ),
];

/// Bindings besides those of the protos: service, RPC, bindings.
pub(super) const ALSO: &[(&str, &str, &str)] = &[
    // The default stream is also written without `streams`.
    (
        "google.cloud.bigquery.storage.v1.BigQueryWrite",
        "AppendRows",
        "N:tables::02:v1::{write_stream=projects/*/datasets/*/tables/*/_default}",
    ),
    (
        "google.cloud.bigquery.storage.v1.BigQueryWrite",
        "GetWriteStream",
        "N:tables::01:v1::{name=projects/*/datasets/*/tables/*/_default}",
    ),
];

const STORAGE: &str = "google.storage.v2.Storage";
const CONTROL: &str = "google.storage.control.v2.StorageControl";

/// RPCs without a rule: service, RPC, bindings.
///
/// Cloud Storage names buckets `projects/_/buckets/B`, and JSON paths have `b/B`. An upload's id names no object
/// that one could read, so what only has one is decided by its method.
pub(super) const BINDINGS: &[(&str, &str, &str)] = &[
    (
        STORAGE,
        "DeleteBucket",
        "D/storage/v1/b/{name=projects/_/buckets/(*)}",
    ),
    (
        STORAGE,
        "GetBucket",
        "G/storage/v1/b/{name=projects/_/buckets/(*)}",
    ),
    (
        STORAGE,
        "CreateBucket",
        "P/storage/v1/b?project={bucket.project=projects/(*)}",
    ),
    (
        STORAGE,
        "ListBuckets",
        "G/storage/v1/b?project={parent=projects/(*)}",
    ),
    (
        STORAGE,
        "LockBucketRetentionPolicy",
        "P/storage/v1/b/{bucket=projects/_/buckets/(*)}/lockRetentionPolicy",
    ),
    (
        STORAGE,
        "GetIamPolicy",
        "G/storage/v1/b/{resource=projects/_/buckets/(*)}/iam \
         G/storage/v1/b/{resource=projects/_/buckets/(*)/objects/@}/o/{resource=projects/_/buckets/*/objects/(@)}/iam \
         G/storage/v1/b/{resource=projects/_/buckets/(*)/managedFolders/@}/managedFolders/{resource=projects/_/buckets/*/managedFolders/(@)}/iam",
    ),
    (
        STORAGE,
        "SetIamPolicy",
        "U/storage/v1/b/{resource=projects/_/buckets/(*)}/iam \
         U/storage/v1/b/{resource=projects/_/buckets/(*)/objects/@}/o/{resource=projects/_/buckets/*/objects/(@)}/iam \
         U/storage/v1/b/{resource=projects/_/buckets/(*)/managedFolders/@}/managedFolders/{resource=projects/_/buckets/*/managedFolders/(@)}/iam",
    ),
    (
        STORAGE,
        "TestIamPermissions",
        "G/storage/v1/b/{resource=projects/_/buckets/(*)}/iam/testPermissions \
         G/storage/v1/b/{resource=projects/_/buckets/(*)/objects/@}/o/{resource=projects/_/buckets/*/objects/(@)}/iam/testPermissions \
         G/storage/v1/b/{resource=projects/_/buckets/(*)/managedFolders/@}/managedFolders/{resource=projects/_/buckets/*/managedFolders/(@)}/iam/testPermissions",
    ),
    (
        STORAGE,
        "UpdateBucket",
        "A/storage/v1/b/{bucket.name=projects/_/buckets/(*)}",
    ),
    (
        STORAGE,
        "ComposeObject",
        "P/storage/v1/b/{destination.bucket=projects/_/buckets/(*)}/o/{destination.name}/compose",
    ),
    (
        STORAGE,
        "DeleteObject",
        "D/storage/v1/b/{bucket=projects/_/buckets/(*)}/o/{object}",
    ),
    (
        STORAGE,
        "RestoreObject",
        "P/storage/v1/b/{bucket=projects/_/buckets/(*)}/o/{object}/restore",
    ),
    (
        STORAGE,
        "GetObject",
        "G/storage/v1/b/{bucket=projects/_/buckets/(*)}/o/{object}",
    ),
    (
        STORAGE,
        "ReadObject",
        "G/storage/v1/b/{bucket=projects/_/buckets/(*)}/o/{object}",
    ),
    (
        STORAGE,
        "BidiReadObject",
        "G/storage/v1/b/{read_object_spec.bucket=projects/_/buckets/(*)}/o/{read_object_spec.object}",
    ),
    (
        STORAGE,
        "UpdateObject",
        "A/storage/v1/b/{object.bucket=projects/_/buckets/(*)}/o/{object.name}",
    ),
    (
        STORAGE,
        "WriteObject",
        "P/storage/v1/b/{write_object_spec.resource.bucket=projects/_/buckets/(*)}/o?name={write_object_spec.resource.name} \
         N:objects:u:02:v1:storage.objects.insert:{upload_id}",
    ),
    (
        STORAGE,
        "BidiWriteObject",
        "P/storage/v1/b/{write_object_spec.resource.bucket=projects/_/buckets/(*)}/o?name={write_object_spec.resource.name} \
         P/storage/v1/b/{append_object_spec.bucket=projects/_/buckets/(*)}/o?name={append_object_spec.object} \
         N:objects:u:02:v1:storage.objects.insert:{upload_id}",
    ),
    (
        STORAGE,
        "StartResumableWrite",
        "P/storage/v1/b/{write_object_spec.resource.bucket=projects/_/buckets/(*)}/o?name={write_object_spec.resource.name}",
    ),
    (
        STORAGE,
        "QueryWriteStatus",
        "N:objects:u:02:v1:storage.objects.insert:{upload_id}",
    ),
    (
        STORAGE,
        "CancelResumableWrite",
        "N:objects:u:02:v1:storage.objects.insert:{upload_id}",
    ),
    (
        STORAGE,
        "ListObjects",
        "G/storage/v1/b/{parent=projects/_/buckets/(*)}/o",
    ),
    (
        STORAGE,
        "RewriteObject",
        "P/storage/v1/b/{source_bucket=projects/_/buckets/(*)}/o/{source_object}/rewriteTo/b/{destination_bucket=projects/_/buckets/(*)}/o/{destination_name}",
    ),
    (
        STORAGE,
        "MoveObject",
        "P/storage/v1/b/{bucket=projects/_/buckets/(*)}/o/{source_object}/moveTo/o/{destination_object}",
    ),
    (
        CONTROL,
        "CreateFolder",
        "P/storage/v1/b/{parent=projects/_/buckets/(*)}/folders",
    ),
    (
        CONTROL,
        "DeleteFolder",
        "D/storage/v1/b/{name=projects/_/buckets/(*)/folders/@}/folders/{name=projects/_/buckets/*/folders/(@)}",
    ),
    (
        CONTROL,
        "GetFolder",
        "G/storage/v1/b/{name=projects/_/buckets/(*)/folders/@}/folders/{name=projects/_/buckets/*/folders/(@)}",
    ),
    (
        CONTROL,
        "ListFolders",
        "G/storage/v1/b/{parent=projects/_/buckets/(*)}/folders",
    ),
    (
        CONTROL,
        "RenameFolder",
        "P/storage/v1/b/{name=projects/_/buckets/(*)/folders/@}/folders/{name=projects/_/buckets/*/folders/(@)}/renameTo/folders/{destination_folder_id}",
    ),
    (
        CONTROL,
        "DeleteFolderRecursive",
        "P/storage/v1/b/{name=projects/_/buckets/(*)/folders/@}/folders/{name=projects/_/buckets/*/folders/(@)}/deleteRecursive",
    ),
    (
        CONTROL,
        "GetStorageLayout",
        "G/storage/v1/b/{name=projects/_/buckets/(*)/storageLayout}/storageLayout",
    ),
    (
        CONTROL,
        "CreateManagedFolder",
        "P/storage/v1/b/{parent=projects/_/buckets/(*)}/managedFolders",
    ),
    (
        CONTROL,
        "DeleteManagedFolder",
        "D/storage/v1/b/{name=projects/_/buckets/(*)/managedFolders/@}/managedFolders/{name=projects/_/buckets/*/managedFolders/(@)}",
    ),
    (
        CONTROL,
        "GetManagedFolder",
        "G/storage/v1/b/{name=projects/_/buckets/(*)/managedFolders/@}/managedFolders/{name=projects/_/buckets/*/managedFolders/(@)}",
    ),
    (
        CONTROL,
        "ListManagedFolders",
        "G/storage/v1/b/{parent=projects/_/buckets/(*)}/managedFolders",
    ),
    (
        CONTROL,
        "CreateAnywhereCache",
        "P/storage/v1/b/{parent=projects/_/buckets/(*)}/anywhereCaches",
    ),
    (
        CONTROL,
        "UpdateAnywhereCache",
        "A/storage/v1/b/{anywhere_cache.name=projects/_/buckets/(*)/anywhereCaches/*}/anywhereCaches/{anywhere_cache.name=projects/_/buckets/*/anywhereCaches/(*)}",
    ),
    (
        CONTROL,
        "DisableAnywhereCache",
        "P/storage/v1/b/{name=projects/_/buckets/(*)/anywhereCaches/*}/anywhereCaches/{name=projects/_/buckets/*/anywhereCaches/(*)}/disable",
    ),
    (
        CONTROL,
        "PauseAnywhereCache",
        "P/storage/v1/b/{name=projects/_/buckets/(*)/anywhereCaches/*}/anywhereCaches/{name=projects/_/buckets/*/anywhereCaches/(*)}/pause",
    ),
    (
        CONTROL,
        "ResumeAnywhereCache",
        "P/storage/v1/b/{name=projects/_/buckets/(*)/anywhereCaches/*}/anywhereCaches/{name=projects/_/buckets/*/anywhereCaches/(*)}/resume",
    ),
    (
        CONTROL,
        "GetAnywhereCache",
        "G/storage/v1/b/{name=projects/_/buckets/(*)/anywhereCaches/*}/anywhereCaches/{name=projects/_/buckets/*/anywhereCaches/(*)}",
    ),
    (
        CONTROL,
        "ListAnywhereCaches",
        "G/storage/v1/b/{parent=projects/_/buckets/(*)}/anywhereCaches",
    ),
    (
        CONTROL,
        "GetIamPolicy",
        "G/storage/v1/b/{resource=projects/_/buckets/(*)}/iam \
         G/storage/v1/b/{resource=projects/_/buckets/(*)/managedFolders/@}/managedFolders/{resource=projects/_/buckets/*/managedFolders/(@)}/iam",
    ),
    (
        CONTROL,
        "SetIamPolicy",
        "U/storage/v1/b/{resource=projects/_/buckets/(*)}/iam \
         U/storage/v1/b/{resource=projects/_/buckets/(*)/managedFolders/@}/managedFolders/{resource=projects/_/buckets/*/managedFolders/(@)}/iam",
    ),
    (
        CONTROL,
        "TestIamPermissions",
        "G/storage/v1/b/{resource=projects/_/buckets/(*)}/iam/testPermissions \
         G/storage/v1/b/{resource=projects/_/buckets/(*)/managedFolders/@}/managedFolders/{resource=projects/_/buckets/*/managedFolders/(@)}/iam/testPermissions",
    ),
];

/// Operations of Cloud Storage, besides those that [`super::mixins`] finds.
pub(super) const STORAGE_OPERATIONS: &[(&str, &str)] = &[
    (
        "GetOperation",
        "G/storage/v1/b/{name=projects/_/buckets/(*)/operations/*}/operations/{name=projects/_/buckets/*/operations/(*)}",
    ),
    (
        "CancelOperation",
        "P/storage/v1/b/{name=projects/_/buckets/(*)/operations/*}/operations/{name=projects/_/buckets/*/operations/(*)}/cancel",
    ),
    (
        "ListOperations",
        "G/storage/v1/b/{name=projects/_/buckets/(*)}/operations",
    ),
];
