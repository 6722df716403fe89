import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * HttpsURLConnection, as Java programs have it: one connection that is kept. Arguments: URL, CA (DER). Each line of standard
 * input names a file, whose lines are headers up to an empty one, then the body; the answer goes to FILE.answer. Each line of
 * standard output is a status, or the class of the exception that was thrown instead.
 */
public final class Client {
  public static void main(String[] arguments) throws Exception {
    HttpsURLConnection.setDefaultSSLSocketFactory(trusting(arguments[1]).getSocketFactory());
    final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    for (String file = input.readLine(); file != null; file = input.readLine()) {
      System.out.println(post(arguments[0], file));
      System.out.flush();
    }
  }

  private static String post(String url, String file) {
    try {
      final String text = Files.readString(Path.of(file));
      final int end = text.indexOf("\n\n");
      final HttpsURLConnection connection = (HttpsURLConnection) new URL(url).openConnection();
      connection.setRequestMethod("POST");
      connection.setDoOutput(true);
      for (String header : text.substring(0, end).split("\n")) {
        final int colon = header.indexOf(": ");
        connection.setRequestProperty(header.substring(0, colon), header.substring(colon + 2));
      }
      connection.getOutputStream().write(text.substring(end + 2).getBytes("UTF-8"));
      final int status = connection.getResponseCode();
      try (InputStream answer = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
        Files.write(Path.of(file + ".answer"), answer.readAllBytes());
      }
      return Integer.toString(status);
    } catch (IOException e) {
      return e.getClass().getSimpleName();
    }
  }

  private static SSLContext trusting(String ca) throws Exception {
    final KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null);
    try (InputStream in = new FileInputStream(ca)) {
      store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
    }
    final TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(store);
    final SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    return context;
  }
}
