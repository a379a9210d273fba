package main

import (
	"context"
	"fmt"
	"io"
	"os"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"cloud.google.com/go/storage"
)

const project = "projects/acme-dev"

var grpcSteps = map[string]step{
	"read": onSecrets(func(ctx context.Context, client *secretmanager.Client, _ string) error {
		return access(ctx, client)
	}),
	"write": onSecrets(func(ctx context.Context, client *secretmanager.Client, name string) error {
		version, err := client.AddSecretVersion(ctx, &secretmanagerpb.AddSecretVersionRequest{
			Parent:  project + "/secrets/api-token",
			Payload: &secretmanagerpb.SecretPayload{Data: []byte("written by " + name)},
		})
		if err != nil {
			return err
		}
		fmt.Println(version.Name)
		return nil
	}),
	"refused": onSecrets(func(ctx context.Context, client *secretmanager.Client, _ string) error {
		return client.DeleteSecret(ctx, &secretmanagerpb.DeleteSecretRequest{
			Name: project + "/secrets/db-password",
		})
	}),
	"download": onObjects(func(ctx context.Context, client *storage.Client, _ string) error {
		reader, err := client.Bucket("acme-dev-data").Object("hello.txt").NewReader(ctx)
		if err != nil {
			return err
		}
		defer reader.Close()
		_, err = io.Copy(os.Stdout, reader)
		return err
	}),
	"upload": onObjects(func(ctx context.Context, client *storage.Client, name string) error {
		return upload(ctx, client.Bucket("acme-dev-data"), name, fmt.Sprintf("streamed by %s\n", name))
	}),
	"held": onSecrets(func(ctx context.Context, client *secretmanager.Client, name string) error {
		automatic := &secretmanagerpb.Replication_Automatic_{Automatic: &secretmanagerpb.Replication_Automatic{}}
		secret, err := client.CreateSecret(ctx, &secretmanagerpb.CreateSecretRequest{
			Parent:   project,
			SecretId: "held-for-" + name,
			Secret:   &secretmanagerpb.Secret{Replication: &secretmanagerpb.Replication{Replication: automatic}},
		})
		if err != nil {
			return err
		}
		fmt.Println(secret.Name)
		return nil
	}),
}

func onObjects(do func(context.Context, *storage.Client, string) error) step {
	return func(ctx context.Context, name string) error {
		client, err := storage.NewGRPCClient(ctx, storage.WithDisabledClientMetrics())
		if err != nil {
			return err
		}
		defer client.Close()
		return do(ctx, client, name)
	}
}

func onSecrets(do func(context.Context, *secretmanager.Client, string) error) step {
	return func(ctx context.Context, name string) error {
		client, err := secretmanager.NewClient(ctx)
		if err != nil {
			return err
		}
		defer client.Close()
		return do(ctx, client, name)
	}
}
