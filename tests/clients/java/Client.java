import com.google.api.client.http.GenericUrl;
import com.google.api.client.http.javanet.NetHttpTransport;
import com.google.auth.http.HttpCredentialsAdapter;
import com.google.auth.oauth2.GoogleCredentials;
import com.google.cloud.storage.BlobInfo;
import com.google.cloud.storage.Storage;
import com.google.cloud.storage.StorageOptions;
import java.nio.charset.StandardCharsets;

/**
 * Cloud Storage and Secret Manager over REST, as an agent in Java would call them.
 *
 * <p>Usage: Client read|masked|write|refused|held NAME. The result goes to standard output; an error ends the
 * program as it ends any program, with its text on standard error.
 */
public final class Client {
    private static final String SECRET =
        "https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db-password/versions/latest:access";

    public static void main(String[] args) throws Exception {
        String name = args[1];
        switch (args[0]) {
            case "read" -> System.out.print(text(storage().readAllBytes("acme-dev-data", "hello.txt")));
            case "masked" -> System.out.print(access());
            case "write" -> upload("acme-dev-data", name, "written by " + name + "\n");
            case "refused" -> storage().delete("acme-dev-data", "hello.txt");
            case "held" -> upload("acme-dev-artifacts", name, "held for " + name + "\n");
            default -> throw new IllegalArgumentException("no such step: " + args[0]);
        }
    }

    private static Storage storage() {
        return StorageOptions.getDefaultInstance().getService();
    }

    private static void upload(String bucket, String name, String content) {
        BlobInfo object = BlobInfo.newBuilder(bucket, "clients/" + name + ".txt").build();
        var stored = storage().create(object, content.getBytes(StandardCharsets.UTF_8));
        System.out.println(stored.getName() + " " + stored.getSize());
    }

    /** The answer as it comes: the library for Secret Manager speaks gRPC, and is not what is tried here. */
    private static String access() throws Exception {
        var credentials = GoogleCredentials.getApplicationDefault()
            .createScoped("https://www.googleapis.com/auth/cloud-platform");
        var requests = new NetHttpTransport().createRequestFactory(new HttpCredentialsAdapter(credentials));
        return requests.buildGetRequest(new GenericUrl(SECRET)).execute().parseAsString();
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
