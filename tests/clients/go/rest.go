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

var restSteps = map[string]step{
	"read": onStorage(func(ctx context.Context, client *storage.Client, _ string) error {
		reader, err := client.Bucket("acme-dev-data").Object("hello.txt").NewReader(ctx)
		if err != nil {
			return err
		}
		defer reader.Close()
		_, err = io.Copy(os.Stdout, reader)
		return err
	}),
	"masked": func(ctx context.Context, _ string) error {
		client, err := secretmanager.NewRESTClient(ctx)
		if err != nil {
			return err
		}
		defer client.Close()
		return access(ctx, client)
	},
	"write": onStorage(func(ctx context.Context, client *storage.Client, name string) error {
		return upload(ctx, client.Bucket("acme-dev-data"), name, fmt.Sprintf("written by %s\n", name))
	}),
	"refused": onStorage(func(ctx context.Context, client *storage.Client, _ string) error {
		return client.Bucket("acme-dev-data").Object("hello.txt").Delete(ctx)
	}),
	"held": onStorage(func(ctx context.Context, client *storage.Client, name string) error {
		return upload(ctx, client.Bucket("acme-dev-artifacts"), name, fmt.Sprintf("held for %s\n", name))
	}),
}

func onStorage(do func(context.Context, *storage.Client, string) error) step {
	return func(ctx context.Context, name string) error {
		client, err := storage.NewClient(ctx)
		if err != nil {
			return err
		}
		defer client.Close()
		return do(ctx, client, name)
	}
}

func upload(ctx context.Context, bucket *storage.BucketHandle, name, text string) error {
	writer := bucket.Object("clients/" + name + ".txt").NewWriter(ctx)
	if _, err := io.WriteString(writer, text); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	fmt.Println(writer.Attrs().Name, writer.Attrs().Size)
	return nil
}

// access prints the value of the secret.
func access(ctx context.Context, client *secretmanager.Client) error {
	answer, err := client.AccessSecretVersion(ctx, &secretmanagerpb.AccessSecretVersionRequest{
		Name: project + "/secrets/db-password/versions/latest",
	})
	if err != nil {
		return err
	}
	fmt.Println(string(answer.Payload.Data))
	return nil
}
