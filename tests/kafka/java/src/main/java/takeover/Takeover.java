package takeover;

import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The topology of {@code tests/kafka/takeover.rs} in Kafka Streams: a count per key, and after a re-key a count per value and
 * minute. It says {@code running} when it is, and for each input partition what time it resumes with; when its standard input
 * ends it leaves the group and ends.
 *
 * <p>Arguments: bootstrap, application id, state directory, then settings as {@code key=value}. Topics begin with the application id.
 */
public final class Takeover {
    private Takeover() {
    }

    public static void main(String[] args) throws Exception {
        KafkaStreams streams = new KafkaStreams(topology(args[1]), config(args));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(3);
            throw new AssertionError("unreachable");
        });
        streams.start();
        while (streams.state() != KafkaStreams.State.RUNNING) {
            Thread.sleep(10);
        }
        System.out.println("running");
        while (System.in.read() >= 0) {
            continue;
        }
        boolean closed = streams.close(
            CloseOptions.timeout(Duration.ofSeconds(60))
                .withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
        System.exit(closed ? 0 : 4);
    }

    private static org.apache.kafka.streams.Topology topology(String name) {
        Serde<String> text = Serdes.String();
        Serde<Long> number = Serdes.Long();
        TimeWindows minutes = TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofDays(1));
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> in = builder.stream(name + "-in", Consumed.with(text, text));
        in.groupByKey()
            .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts").withKeySerde(text).withValueSerde(number))
            .toStream()
            .to(name + "-counts", Produced.with(text, number));
        in.groupBy((key, value) -> value, Grouped.with("by-value", text, text))
            .windowedBy(minutes)
            .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("per-minute").withKeySerde(text).withValueSerde(number))
            .toStream()
            .to(name + "-per-minute", Produced.with(new WindowedSerdes.TimeWindowedSerde<>(text, 60_000L), number));
        in.process(ResumedTime::new);
        return builder.build();
    }

    private static Properties config(String[] args) {
        Properties config = new Properties();
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        config.put(StreamsConfig.STATE_DIR_CONFIG, args[2]);
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        config.put(StreamsConfig.ENABLE_METRICS_PUSH_CONFIG, false);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        for (int index = 3; index < args.length; index++) {
            String[] setting = args[index].split("=", 2);
            config.put(setting[0], setting[1]);
        }
        return config;
    }

    /** Says what time its task begins with, which is what was committed beside the positions. */
    private static final class ResumedTime extends ContextualProcessor<String, String, Void, Void> {
        @Override
        public void init(ProcessorContext<Void, Void> context) {
            System.out.println("time " + context.taskId().partition() + " " + context.currentStreamTimeMs());
        }

        @Override
        public void process(Record<String, String> record) {
            // what it has to say was said at the start
        }
    }
}
