package com.example;

import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;
import org.junit.jupiter.api.extension.ExtensionContext.Store;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;

/** Gives tests a {@link Lap}: one server for each JVM, reset after each test. */
public class LapExtension implements ParameterResolver, AfterEachCallback {

    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
        return parameter.getParameter().getType() == Lap.class;
    }

    @Override
    public Lap resolveParameter(ParameterContext parameter, ExtensionContext context) {
        return store(context).getOrComputeIfAbsent(Lap.class, type -> Lap.start(), Lap.class);
    }

    @Override
    public void afterEach(ExtensionContext context) {
        Lap lap = store(context).get(Lap.class, Lap.class);
        if (lap != null) {
            lap.reset();
        }
    }

    /** The root store closes what is in it when all tests have run. */
    private static Store store(ExtensionContext context) {
        return context.getRoot().getStore(Namespace.create(Lap.class));
    }
}
