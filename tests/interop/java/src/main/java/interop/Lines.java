package interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** Standard output is the report, one event per line; the end of standard input means stop. */
final class Lines {
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Lines() {}

    static synchronized void say(Object... words) {
        StringBuilder line = new StringBuilder();
        for (Object word : words) {
            if (line.length() > 0) {
                line.append(' ');
            }
            line.append(word);
        }
        OUT.println(line);
    }

    /** The rest of a line: spaces are fine, line ends are not. */
    static String oneLine(Object text) {
        return String.valueOf(text).replace('\n', ' ').replace('\r', ' ');
    }

    static synchronized void flush() {
        OUT.flush();
    }

    /** Blocks until the driver writes a line or goes away. */
    static void awaitStop() {
        try {
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).readLine();
        } catch (IOException gone) {
            // The driver is gone: the same as being told to stop.
        }
    }
}
