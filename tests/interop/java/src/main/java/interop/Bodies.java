package interop;

import java.util.Random;
import java.util.zip.CRC32;

/** What is sent: the same sizes in every language, content that is half random and half repetitive. */
final class Bodies {
    private static final int MIB = 1 << 20;

    private Bodies() {}

    /** `mixed`: 1 B to 1 MiB, one in a hundred above 32 KiB; `small`: 1 B to 2 KiB. */
    static int size(String sizes, int index) {
        long hash = (index * 2654435761L) & 0xFFFFFFFFL;
        if (sizes.equals("small")) {
            return within((int) (hash % 11), hash);
        }
        if (index == 0) {
            return 1;
        }
        if (index == 1) {
            return MIB;
        }
        return within(index % 100 == 50 ? 15 + (int) (hash % 5) : (int) (hash % 15), hash);
    }

    private static int within(int bits, long hash) {
        return (1 << bits) + (int) ((hash >> 8) % (1 << bits));
    }

    /** Every second body repeats itself, so that the client's compression of larger ones is used. */
    static byte[] body(String sizes, int index) {
        byte[] body = new byte[size(sizes, index)];
        if (index % 2 == 0) {
            new Random(index).nextBytes(body);
        } else {
            for (int i = 0; i < body.length; i++) {
                body[i] = (byte) ('a' + (i + index) % 26);
            }
        }
        return body;
    }

    static String sum(byte[] body) {
        CRC32 crc = new CRC32();
        crc.update(body);
        return String.format("%08x", crc.getValue());
    }
}
