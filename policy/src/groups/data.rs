//! Groups of services that keep data. `read` changes nothing; `write`, `run` and the like do what one
//! works with every day, delete nothing and share nothing; `admin` is everything that changes the service, access to it
//! included.

use super::{
    common::{changes, reads, works},
    row::{Part, Row},
};

pub(super) const ROWS: &[Row] = &[
    // Cloud Storage
    Row::allow(
        "storage.read",
        "See buckets and folders, and read objects, their content included.",
        &[reads(&["storage.*.get", "storage.*.list", "storage.buckets.**"])],
    ),
    Row::allow(
        "storage.write",
        "Write objects: upload, copy, compose, restore, change what is said about them, make folders. Writing a \
         name again replaces its content.",
        &[works(&[
            "storage.objects.insert",
            "storage.objects.copy",
            "storage.objects.rewrite",
            "storage.objects.compose",
            "storage.objects.patch",
            "storage.objects.update",
            "storage.objects.restore",
            "storage.folders.insert",
        ])],
    ),
    Row::allow(
        "storage.delete",
        "Delete, move and rename objects and folders. Buckets are in group:storage.admin.",
        &[changes(&[
            "storage.objects.delete",
            "storage.objects.move",
            "storage.folders.delete",
            "storage.folders.deleteRecursive",
            "storage.folders.rename",
        ])],
    ),
    Row::allow(
        "storage.admin",
        "Make, change and delete buckets, managed folders, caches and notifications, and set who may use what is in \
         them. No HMAC keys.",
        &[changes(&[
            "storage.buckets.**",
            "storage.*AccessControls.*",
            "storage.objects.setIamPolicy",
            "storage.objects.bulkRestore",
            "storage.managedFolders.*",
            "storage.notifications.*",
            "storage.anywhereCaches.*",
            "storage.rapidCaches.*",
        ])],
    ),
    // Data
    Row::allow(
        "bigquery.read",
        "See datasets, tables, routines, models and jobs, and read rows: with results of queries, lists of rows and \
         the Storage Read API.",
        &[
            reads(&["bigquery.**"]),
            Part::of(&[
                "google.cloud.bigquery.storage.*.BigQueryRead.*",
                "google.cloud.bigquery.storage.v1beta1.BigQueryStorage.*",
            ]),
        ],
    ),
    Row::allow(
        "bigquery.query",
        "Run queries and other jobs, and read their results. A query is any SQL: it can change and delete what the \
         gateway's credential may, and a job can load, copy and extract.",
        &[
            works(&[
                "bigquery.jobs.query",
                "bigquery.jobs.insert",
                "bigquery.jobs.cancel",
            ]),
            reads(&["bigquery.jobs.*"]),
        ],
    ),
    Row::allow(
        "bigquery.write",
        "Write rows, and make and change tables, views, routines and models. Datasets, which carry access, are in \
         group:bigquery.admin.",
        &[
            works(&[
                "bigquery.tabledata.insertAll",
                "bigquery.tables.*",
                "bigquery.routines.*",
                "bigquery.models.*",
            ]),
            Part::of(&["google.cloud.bigquery.storage.*.BigQueryWrite.*"]),
        ],
    ),
    Row::allow(
        "bigquery.admin",
        "Everything that changes BigQuery but for jobs: also datasets and who may read them, and deletion.",
        &[changes(&["bigquery.**"]).but(&[
            "bigquery.jobs.query",
            "bigquery.jobs.insert",
            "bigquery.jobs.cancel",
        ])],
    ),
    Row::allow(
        "pubsub.read",
        "See topics, subscriptions, snapshots and schemas.",
        &[reads(&["pubsub.**"])],
    ),
    Row::allow(
        "pubsub.publish",
        "Publish messages, and see topics.",
        &[
            works(&["pubsub.**.publish", "pubsub.**.publishBatch"]),
            reads(&["pubsub.**.topics.get"]),
        ],
    ),
    Row::allow(
        "pubsub.subscribe",
        "Pull and acknowledge messages, and see subscriptions.",
        &[
            works(&[
                "pubsub.**.pull",
                "pubsub.**.pullBatch",
                "pubsub.**.acknowledge",
                "pubsub.**.modifyAckDeadline",
            ]),
            reads(&["pubsub.**.subscriptions.get"]),
        ],
    ),
    Row::allow(
        "pubsub.admin",
        "Make, change and delete topics, subscriptions, snapshots and schemas, and set who may use them.",
        &[changes(&["pubsub.**"]).but(&[
            "**.publish",
            "**.publishBatch",
            "**.pull",
            "**.pullBatch",
            "**.acknowledge",
            "**.modifyAckDeadline",
        ])],
    ),
    Row::allow(
        "sql.read",
        "See instances, databases, users' names, backups and operations of Cloud SQL.",
        &[reads(&["sql.**"])],
    ),
    Row::allow(
        "sql.query",
        "Run SQL through the API, as Cloud SQL Studio does: any statement that the database user may run.",
        &[Part::of(&[
            "sql.instances.executeSql",
            "google.cloud.sql.**.StreamSqlData",
        ])],
    ),
    Row::allow(
        "sql.operate",
        "Back up, export, restart and fail over instances.",
        &[works(&[
            "sql.backupRuns.insert",
            "sql.backups.createBackup",
            "sql.Backups.CreateBackup",
            "sql.instances.export",
            "sql.instances.restart",
            "sql.instances.failover",
            "sql.instances.startReplica",
            "sql.instances.stopReplica",
        ])],
    ),
    Row::allow(
        "sql.admin",
        "Everything that changes Cloud SQL: instances, databases, users, networks, restores and deletion.",
        &[changes(&["sql.**"]).but(&[
            "sql.instances.executeSql",
            "sql.connect.generateEphemeral",
            "sql.sslCerts.createEphemeral",
        ])],
    ),
    Row::allow(
        "firestore.read",
        "Read documents of Firestore and Datastore, and see databases and indexes.",
        &[
            reads(&["firestore.**", "datastore.**"]),
            works(&["firestore.**.documents.listen"]),
        ],
    ),
    Row::allow(
        "firestore.write",
        "Write documents of Firestore and entities of Datastore. Google has one call for writing and deleting, so \
         documents can be deleted with it too.",
        &[works(&[
            "firestore.**.documents.*",
            "datastore.projects.allocateIds",
            "datastore.projects.beginTransaction",
            "datastore.projects.commit",
            "datastore.projects.reserveIds",
            "datastore.projects.rollback",
        ])],
    ),
    Row::allow(
        "spanner.read",
        "Read rows of Spanner without SQL, and see instances, databases and schemas.",
        &[
            reads(&["spanner.**"]),
            works(&[
                "spanner.**.sessions.create",
                "spanner.**.sessions.batchCreate",
                "spanner.**.sessions.beginTransaction",
                "spanner.**.sessions.rollback",
                "spanner.**.sessions.streamingRead",
            ]),
        ],
    ),
    Row::allow(
        "spanner.write",
        "Read and write rows of Spanner, with SQL too: statements can delete rows.",
        &[
            works(&["spanner.**.sessions.*"]),
            reads(&["spanner.**.sessions.*"]),
        ],
    ),
    Row::allow(
        "bigtable.read",
        "Read rows of Bigtable, and see instances and tables.",
        &[
            reads(&["bigtableadmin.**", "google.bigtable.**"]),
            Part::of(&["google.bigtable.v2.Bigtable.PingAndWarm"]),
        ],
    ),
    Row::allow(
        "bigtable.write",
        "Write rows of Bigtable: mutations can delete cells.",
        &[works(&[
            "google.bigtable.v2.Bigtable.*Mutate*",
            "google.bigtable.v2.Bigtable.ReadModifyWriteRow",
        ])],
    ),
    Row::allow(
        "dataflow.read",
        "See jobs of Dataflow, their metrics and messages.",
        &[reads(&["dataflow.**"])],
    ),
    Row::allow(
        "dataflow.run",
        "Start jobs of Dataflow, from templates too, and update, drain and cancel them.",
        &[
            works(&[
                "dataflow.**.jobs.create",
                "dataflow.**.jobs.update",
                "dataflow.**.templates.create",
                "dataflow.**.templates.launch",
                "dataflow.**.flexTemplates.launch",
            ]),
            reads(&["dataflow.**.jobs.**", "dataflow.**.templates.*"]),
        ],
    ),
    Row::allow(
        "dataproc.run",
        "Submit jobs and batches of Dataproc, and follow and cancel them.",
        &[
            works(&[
                "dataproc.**.jobs.submit",
                "dataproc.**.jobs.submitAsOperation",
                "dataproc.**.jobs.cancel",
                "dataproc.**.batches.create",
            ]),
            reads(&[
                "dataproc.**.jobs.*",
                "dataproc.**.batches.*",
                "dataproc.**.operations.*",
            ]),
        ],
    ),
];
