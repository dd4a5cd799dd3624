import java.time.Duration;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Named checks. Each writes a line: "ok" or "error", its name and what went wrong, split by tabs. */
class Checks {
    /** A check; what it throws is what went wrong. */
    interface Body {
        void run() throws Exception;
    }

    static final long PATIENCE = 60;

    final String bootstrap;

    Checks(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    static void check(String name, Body body) {
        String outcome = "ok\t" + name;
        try {
            body.run();
        } catch (Throwable e) {
            String at = "";
            for (StackTraceElement frame : e.getStackTrace()) {
                if (frame.getFileName() != null && frame.getFileName().matches("(Admin|Client)Checks.java")) {
                    at = " at " + frame.getFileName() + ":" + frame.getLineNumber();
                    break;
                }
            }
            outcome = "error\t" + name + "\t" + String.valueOf(e).replaceAll("\\s+", " ") + at;
        }
        System.out.println(outcome);
        System.out.flush();
    }

    static void equal(Object want, Object got) {
        if (!Objects.equals(want, got)) {
            throw new AssertionError(got + ", want " + want);
        }
    }

    static void that(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(String.valueOf(what));
        }
    }

    static <T> T get(KafkaFuture<T> future) throws Exception {
        try {
            return future.get(PATIENCE, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            throw e.getCause() instanceof Exception cause ? cause : e;
        }
    }

    /**
     * Asks again while a broker does not know a topic yet: a change is answered when it is decided and the broker that was asked
     * has it, and the others have it a moment later.
     */
    static <T> T ask(Callable<KafkaFuture<T>> question) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(PATIENCE).toNanos();
        while (true) {
            try {
                return get(question.call());
            } catch (UnknownTopicOrPartitionException | UnknownTopicIdException e) {
                if (System.nanoTime() > end) {
                    throw e;
                }
                Thread.sleep(20);
            }
        }
    }

    /** Holds that something fails with an exception of this very class. */
    static void fails(Class<? extends Exception> want, Callable<?> what) {
        Object got;
        try {
            got = what.call();
        } catch (Exception e) {
            Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
            if (cause.getClass() != want) {
                throw new AssertionError(cause + ", want " + want.getSimpleName(), cause);
            }
            return;
        }
        throw new AssertionError(got + ", want " + want.getSimpleName());
    }

    static void await(String what, Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(PATIENCE).toNanos();
        while (!holds.call()) {
            that(System.nanoTime() < end, "waited in vain: " + what);
            Thread.sleep(20);
        }
    }

    /** What producers, consumers and admins of strings are made with, and further pairs of names and values. */
    Properties properties(String... more) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("key.serializer", StringSerializer.class.getName());
        p.put("value.serializer", StringSerializer.class.getName());
        p.put("key.deserializer", StringDeserializer.class.getName());
        p.put("value.deserializer", StringDeserializer.class.getName());
        for (int i = 0; i < more.length; i += 2) {
            p.put(more[i], more[i + 1]);
        }
        return p;
    }
}
