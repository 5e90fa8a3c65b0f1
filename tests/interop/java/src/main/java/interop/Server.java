package interop;

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.rocketmq.broker.BrokerStartup;
import org.apache.rocketmq.namesrv.NamesrvStartup;

/**
 * A stock server: {@code broker|namesrv FOLDER} starts it with {@code FOLDER/NAME.properties}. Logs and whatever it
 * keeps at home go below the folder. It ends in order on SIGTERM, and when whoever started it goes away.
 */
final class Server {
    private Server() {}

    static void run(String name, Path folder) throws Exception {
        Path temporary = Files.createDirectories(folder.resolve("tmp"));
        Files.createDirectories(folder.resolve("conf"));
        // Before the first class of the server is loaded, for they read these once.
        System.setProperty("user.home", folder.toString());
        System.setProperty("java.io.tmpdir", temporary.toString());
        System.setProperty("rocketmq.home.dir", folder.toString());
        String[] arguments = {"-c", folder.resolve(name + ".properties").toString()};
        Object started = name.equals("namesrv")
            ? NamesrvStartup.main0(arguments)
            : BrokerStartup.start(BrokerStartup.createBrokerController(arguments));
        // Both end the process themselves when something is wrong; this is for the day they do not.
        if (started == null) {
            throw new IllegalStateException(name + " did not start");
        }
        Lines.say("ready");
        Thread orphaned = new Thread(() -> {
            Lines.awaitStop();
            System.exit(0);
        });
        orphaned.setDaemon(true);
        orphaned.start();
    }
}
