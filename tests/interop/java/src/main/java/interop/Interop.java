package interop;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/**
 * The stock Java client behind a line protocol, so that one driver can check what several clients
 * send and receive. See ../../../../../README.md for the arguments and the lines.
 */
public final class Interop {
    /** For a connection, and for an answer of a name server or broker; the client's own 3 s are too few on a busy machine. */
    static final int PATIENCE_MS = 15_000;

    private Interop() {}

    public static void main(String[] args) throws Exception {
        if (args.length == 0) {
            throw new IllegalArgumentException("expected: send|transact|receive key=value ..., or broker|namesrv FOLDER");
        }
        if (args[0].equals("broker") || args[0].equals("namesrv")) {
            Server.run(args[0], Path.of(args[1]));
            return;
        }
        Map<String, String> options = new HashMap<>();
        for (int i = 1; i < args.length; i++) {
            int at = args[i].indexOf('=');
            if (at < 0) {
                throw new IllegalArgumentException("expected key=value, found " + args[i]);
            }
            options.put(args[i].substring(0, at), args[i].substring(at + 1));
        }
        // On a machine that does much else a connection takes its time.
        System.setProperty("com.rocketmq.remoting.client.connect.timeout", String.valueOf(PATIENCE_MS));
        Options parsed = new Options(options);
        switch (args[0]) {
            case "send":
                new Sender(parsed).run();
                break;
            case "transact":
                new Transactor(parsed).run();
                break;
            case "receive":
                new Receiver(parsed).run();
                break;
            default:
                throw new IllegalArgumentException("unknown command " + args[0]);
        }
        Lines.flush();
        // The client leaves non-daemon threads behind; everything of ours is done here.
        System.exit(0);
    }
}
