package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;

/** Sends `count` messages in one of the client's ways and reports each one's fate. */
final class Sender {
    /** Beyond ASCII on purpose: properties are UTF-8 on the wire. */
    static final String NOTE = "rúcula 芝麻菜";

    private static final int BATCH = 16;
    private static final int IN_FLIGHT = 128;
    /** Between a refused send and the next one, so that a broker that is away is not hammered. */
    private static final int PAUSE_AFTER_FAILURE_MS = 50;

    private final String topic;
    private final String sender;
    private final String mode;
    private final String sizes;
    private final int count;
    private final int intervalMs;
    private final int level;
    private final int delayMs;
    private final int groups;
    private final String[] tags;
    private final boolean traces;
    private final DefaultMQProducer producer;
    private final Semaphore inFlight = new Semaphore(IN_FLIGHT);
    private volatile boolean stopped;

    Sender(Options options) {
        topic = options.text("topic");
        sender = options.text("sender");
        mode = options.text("mode");
        sizes = options.text("sizes", "small");
        count = options.number("count", 1);
        intervalMs = options.number("interval", 0);
        level = options.number("level", 1);
        delayMs = options.number("delay", 1000);
        groups = options.number("groups", 1);
        tags = options.text("tags", "A").split(",");
        traces = options.text("trace", "false").equals("true");
        producer = new DefaultMQProducer(options.text("group", "interop-" + sender), null, traces, null);
        producer.setNamesrvAddr(options.text("namesrv"));
        producer.setInstanceName(sender);
        // A restarted broker is to be found again within the test's patience (default 30 s).
        producer.setPollNameServerInterval(1000);
        producer.setMqClientApiTimeout(Interop.PATIENCE_MS);
        producer.setSendMsgTimeout(options.number("timeout", 10_000));
        producer.setCompressType(CompressionType.valueOf(options.text("compress", "ZLIB")));
        producer.setAutoBatch(mode.equals("autobatch"));
    }

    void run() throws Exception {
        producer.start();
        Thread watcher = new Thread(() -> {
            Lines.awaitStop();
            stopped = true;
        });
        watcher.setDaemon(true);
        watcher.start();
        Lines.say("ready");
        if (mode.equals("request")) {
            beKnown();
        }
        int step = mode.equals("batch") ? BATCH : 1;
        for (int index = 0; index < count && !stopped; index += step) {
            try {
                send(index);
            } catch (Exception refused) {
                failed(index, refused);
                Thread.sleep(PAUSE_AFTER_FAILURE_MS);
                if (mode.equals("ordered")) {
                    // What follows in its group must not overtake it.
                    index -= step;
                }
            }
            if (intervalMs > 0) {
                Thread.sleep(intervalMs);
            }
        }
        inFlight.acquire(IN_FLIGHT);
        if (mode.equals("request") || traces) {
            // The broker is told of each reply that it has come; who leaves at once leaves the last replier with an error. Traces
            // are sent in their own time.
            watcher.join();
        }
        producer.shutdown();
        Lines.say("done");
    }

    /**
     * Replies reach producers the broker has heard of. The client sees to that before its first request, unless another thread of it
     * is at it just then.
     */
    private void beKnown() throws InterruptedException {
        MQClientInstance client = producer.getDefaultMQProducerImpl().getMqClientFactory();
        client.updateTopicRouteInfoFromNameServer(topic);
        while (!client.sendHeartbeatToAllBrokerWithLock()) {
            Thread.sleep(PAUSE_AFTER_FAILURE_MS);
            client.updateTopicRouteInfoFromNameServer(topic);
        }
    }

    private void send(int index) throws Exception {
        switch (mode) {
            case "sync":
                Message one = message(index);
                accepted(one, index, 0, producer.send(one));
                break;
            case "async":
            case "autobatch":
                sendAsync(index);
                break;
            case "level":
                Message delayed = message(index);
                delayed.setDelayTimeLevel(level);
                stored(delayed, index, producer.send(delayed));
                break;
            case "timer":
                Message timed = message(index);
                time(timed, index);
                stored(timed, index, producer.send(timed));
                break;
            case "recall":
                recall(index);
                break;
            case "ordered":
                Message next = message(index);
                next.putUserProperty(MessageConst.PROPERTY_SHARDING_KEY, "g" + index % groups);
                accepted(next, index, 0, producer.send(next, new SelectMessageQueueByHash(), "g" + index % groups));
                break;
            case "request":
                Message question = message(index);
                Message reply = producer.request(question, producer.getSendMsgTimeout());
                String expected = Bodies.sum(Bodies.body(sizes, index));
                if (!expected.equals(new String(reply.getBody(), StandardCharsets.UTF_8))) {
                    Lines.say("bad", "reply", reply, "to", index);
                }
                report("ack", question, index, -1, -1);
                break;
            case "oneway":
                Message quiet = message(index);
                producer.sendOneway(quiet);
                report("ack", quiet, index, -1, -1);
                break;
            case "batch":
                List<Message> batch = new ArrayList<>();
                for (int i = index; i < Math.min(count, index + BATCH); i++) {
                    batch.add(message(i));
                }
                SendResult result = producer.send(batch);
                for (int i = 0; i < batch.size(); i++) {
                    accepted(batch.get(i), index + i, i, result);
                }
                break;
            case "empty":
                producer.send(new Message(topic, new byte[0]));
                report("ack", new Message(topic, new byte[0]), index, -1, -1);
                break;
            default:
                throw new IllegalArgumentException("unknown mode " + mode);
        }
    }

    private void sendAsync(int index) throws Exception {
        inFlight.acquire();
        Message message = message(index);
        try {
            producer.send(message, new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    accepted(message, index, 0, result);
                    inFlight.release();
                }

                @Override
                public void onException(Throwable refused) {
                    failed(index, refused);
                    inFlight.release();
                }
            });
        } catch (Exception refused) {
            inFlight.release();
            throw refused;
        }
    }

    /** In each of the three ways a client has. */
    private void time(Message message, int index) {
        switch (index % 3) {
            case 0:
                message.setDelayTimeMs(delayMs);
                break;
            case 1:
                message.setDelayTimeSec((delayMs + 999) / 1000);
                break;
            default:
                message.setDeliverTimeMs(System.currentTimeMillis() + delayMs);
                break;
        }
    }

    /** Every second timer is taken back. */
    private void recall(int index) throws Exception {
        Message timed = message(index);
        time(timed, index);
        SendResult result = producer.send(timed);
        if (index % 2 == 1) {
            String key = producer.recallMessage(topic, result.getRecallHandle());
            if (!result.getMsgId().equals(key)) {
                Lines.say("bad", "recall", key, "of", result);
            }
            Lines.say("recalled", sender, index);
        } else {
            stored(timed, index, result);
        }
    }

    private Message message(int index) {
        return message(topic, tags[index % tags.length], sender, index, sizes);
    }

    static Message message(String topic, String tag, String sender, int index, String sizes) {
        Message message = new Message(topic, tag, sender + "-" + index, Bodies.body(sizes, index));
        message.putUserProperty("sender", sender);
        message.putUserProperty("index", Integer.toString(index));
        message.putUserProperty("sentAt", Long.toString(System.currentTimeMillis()));
        message.putUserProperty("note", NOTE);
        message.setWaitStoreMsgOK(true);
        return message;
    }

    /** Where it will lie is not known yet. */
    private void stored(Message message, int index, SendResult result) {
        if (result.getSendStatus() == SendStatus.SEND_OK) {
            report("ack", message, index, -1, -1);
        } else {
            failed(index, result.getSendStatus());
        }
    }

    private void accepted(Message message, int index, int place, SendResult result) {
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            failed(index, result.getSendStatus());
            return;
        }
        if (mode.equals("autobatch")) {
            stored(message, index, result);
            return;
        }
        report("ack", message, index, result.getMessageQueue().getQueueId(), result.getQueueOffset() + place);
    }

    private void report(String event, Message message, int index, int queue, long offset) {
        // What the client compressed for the wire it has put back by the time it answers.
        byte[] body = mode.equals("empty") ? message.getBody() : Bodies.body(sizes, index);
        report(event, sender, index, body, message.getTags(), queue, offset);
    }

    static void report(String event, String sender, int index, byte[] body, String tag, int queue, long offset) {
        Lines.say(event, sender, index, body.length, Bodies.sum(body), tag, queue, offset, System.currentTimeMillis());
    }

    private void failed(int index, Object why) {
        Lines.say("fail", sender, index, Lines.oneLine(why));
    }
}
